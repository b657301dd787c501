"""Write docs/licences.md: the licences of the packages that msn-gan depends on, as their metadata states them.

    python tools/licences.py            # writes the page
    python tools/licences.py --check    # exit code 1 if the page lacks a package

Reads the packages that are installed in the Python that runs it.
"""

from __future__ import annotations

import argparse
import re
import sys
from email.message import Message
from importlib import metadata
from typing import cast

from fresh_environment import ROOT

from gan.utils.environment import OPTIONAL_PACKAGES, REQUIRED_PACKAGES
from gan.utils.markdown_table import markdown_table

PAGE = ROOT / "docs" / "licences.md"
_CLASSIFIER = "License :: OSI Approved :: "
_HEAD = """# Licences of dependencies

msn-gan has the MIT licence ([LICENSE](../LICENSE)). pip installs the packages below beside it. Each
licence is what the package's metadata states for the version named, not a legal judgement. `python tools/licences.py`
writes this page. The NVIDIA libraries that PyTorch's CUDA build installs have NVIDIA's own licences.

"""


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only check that the page lists all packages")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif lacking := missing(PAGE.read_text(encoding="utf-8")):
        sys.exit(f"{PAGE}: lacks {', '.join(lacking)}; run python tools/licences.py")


def page() -> str:
    """The content of the page, from the metadata of the installed packages."""
    required = [row(name) for name in (*REQUIRED_PACKAGES, *CONDITIONAL_PACKAGES)]
    optional = [row(name) for name in OPTIONAL_PACKAGES]
    header = ("package", "version", "licence")
    tables = [markdown_table(header, rows).rstrip() for rows in (required, optional)]
    return f"{_HEAD}## Required\n\n{tables[0]}\n\n## Optional: the extras `onnx` and `features`\n\n{tables[1]}\n"


CONDITIONAL_PACKAGES = ("tomli",)
"""Required on Python 3.10 alone."""


def row(name: str) -> tuple[str, str, str]:
    """Name, version and licence of a package; of one that is not installed, the program ends."""
    try:
        found = cast(Message, metadata.metadata(name))
    except metadata.PackageNotFoundError:
        if name in CONDITIONAL_PACKAGES:
            return name, "Python 3.10 only", "MIT"
        sys.exit(f"{name}: not installed; install msn-gan with its extras: pip install '.[onnx,features]'")
    return name, found["Version"], licence(found)


def licence(found: Message) -> str:
    """The licence in a package's metadata: SPDX expression, else classifier, else the start of its text."""
    if expression := found.get("License-Expression"):
        return str(expression)
    classified = [text.removeprefix(_CLASSIFIER) for text in found.get_all("Classifier") or [] if _CLASSIFIER in text]
    text = " ".join(str(found.get("License") or "").split())
    return ", ".join(classified) or text[:60] or "not stated"


def missing(text: str) -> list[str]:
    """The packages of pyproject.toml and its extras that no table row of the page names."""
    listed = set(re.findall(r"^\| *([\w.-]+) *\|", text, re.M))
    return [name for name in (*REQUIRED_PACKAGES, *CONDITIONAL_PACKAGES, *OPTIONAL_PACKAGES) if name not in listed]


if __name__ == "__main__":
    main()
