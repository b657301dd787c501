"""Build a release: wheel, source archive and release notes, reproducibly, and test them.

    python tools/release.py                                  # builds, and runs all tests in an empty environment
    python tools/release.py --packages present --tests tests/cli     # a part of the tests, with installed packages
    python tools/release.py --no-tests

The archives are built twice from the committed files, with the time of the commit, and must be equal byte for byte.
The wheel is built from the source archive. Then the examples of `--help` run with the wheel
(`tools/wheel_examples.py`), and the tests run from the unpacked source archive. Archives and notes are written to
`dist/`; nothing is uploaded or tagged.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import wheel_examples
from fresh_environment import PACKAGES, ROOT, create_environment, pip_install, run


def main() -> None:
    """Check, build, test, and write dist/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the git clone  [default: that of this file]")
    parser.add_argument("--out", type=Path, help="folder of the archives  [default: dist/ in the clone]")
    parser.add_argument("--packages", choices=PACKAGES, default="install", help="where the dependencies come from")
    parser.add_argument("--tests", nargs="+", default=["tests"], metavar="PATH", help="run these tests alone")
    parser.add_argument("--no-tests", action="store_true", help="build and write the notes alone")
    options = parser.parse_args()
    root = options.root.resolve()
    out = (options.out or root / "dist").resolve()
    require_clean(root)
    version = version_of(root)
    notes = changelog_section(root, version)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archives = [build(root, folder / build_name) for build_name in ("first", "second")]
        require_equal(*archives)
        source, wheel = archives[0]
        if not options.no_tests:
            test(source, wheel, folder, options.packages, options.tests, root)
        publish([source, wheel], notes, version, out)


def require_clean(root: Path) -> None:
    """End the program if the clone has files that are changed or not committed."""
    changed = git(root, "status", "--porcelain").splitlines()
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        names = ", ".join(line[3:] for line in changed[:3])
        sys.exit(f"{root}: has uncommitted changes: {names}{more}; commit or remove them")


def version_of(root: Path) -> str:
    """`__version__` of the package, which pyproject.toml reads too."""
    found = re.search(r'^__version__ = "([^"]+)"$', (root / "gan" / "__init__.py").read_text(encoding="utf-8"), re.M)
    if not found:
        sys.exit(f'{root / "gan/__init__.py"}: has no line `__version__ = "X.Y.Z"`')
    return found[1]


def changelog_section(root: Path, version: str) -> str:
    """The text of a version in CHANGELOG.md, without its heading; ends the program if there is none."""
    path = root / "CHANGELOG.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d{{2}}-\d{{2}}[ \t]*$"
    found = re.search(rf"{heading}\n(.*?)(?=^## |^\[[^\]]+\]: |\Z)", text, re.M | re.S)
    if not found or not found[1].strip():
        sys.exit(f"{path}: has no entry `## [{version}] - YYYY-MM-DD` with text; write it, and commit")
    return found[1].strip() + "\n"


def build(root: Path, folder: Path) -> tuple[Path, Path]:
    """Build the source archive of the last commit, and from that the wheel; return both paths."""
    epoch = int(git(root, "log", "-1", "--format=%ct"))
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
    os.umask(0o022)  # the modes of files in the wheel
    tree = folder / "tree"
    tree.mkdir(parents=True)
    committed = folder / "committed.tar"
    git(root, "archive", "--output", str(committed), "HEAD")
    with tarfile.open(committed) as archive:
        archive.extractall(tree, filter="data")
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", folder, tree)
    (source,) = folder.glob("*.tar.gz")
    normalize(source, epoch)
    unpacked = unpack(source, folder / "unpacked")
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, unpacked)
    (wheel,) = folder.glob("*.whl")
    return source, wheel


def normalize(path: Path, epoch: int) -> None:
    """Rewrite a .tar.gz with sorted entries, one time, no owner, and modes 644 and 755."""
    with tarfile.open(path) as archive:
        entries = [(entry, archive.extractfile(entry)) for entry in archive.getmembers()]
        contents = [(entry, file.read() if file else b"") for entry, file in entries]
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=epoch) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for entry, content in sorted(contents, key=lambda pair: pair[0].name):
                entry.pax_headers = {}
                entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = epoch, 0, 0, "", ""
                entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
                archive.addfile(entry, io.BytesIO(content) if entry.isfile() else None)


def unpack(source: Path, folder: Path) -> Path:
    """Unpack a source archive; return the one folder in it."""
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return unpacked


def require_equal(first: tuple[Path, Path], second: tuple[Path, Path]) -> None:
    """End the program if two builds differ in a byte."""
    for one, other in zip(first, second, strict=True):
        if one.name != other.name or one.read_bytes() != other.read_bytes():
            sys.exit(f"{one.name}: two builds differ; the build is not reproducible")
        print(f"{one.name}: {one.stat().st_size:,} bytes, two builds are equal", flush=True)


def test(source: Path, wheel: Path, folder: Path, packages: str, tests: list[str], root: Path) -> None:
    """Run the examples with the wheel, and tests from the unpacked source archive, each in a new environment."""
    began = time.monotonic()
    count = wheel_examples.check(wheel, folder / "examples", packages, root)
    print(f"wheel: {count} examples of --help ran, {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    unpacked = unpack(source, folder / "tested")
    python = create_environment(folder / "environment", packages)
    pip_install(python, f"{wheel}[dev]", packages=packages, root=root)
    done = subprocess.run([python, "-m", "pytest", "-q", *tests], cwd=unpacked)
    if done.returncode:
        sys.exit(f"tests of the source archive: exit code {done.returncode}")
    print(f"source archive: {' '.join(tests)} passed, {time.monotonic() - began:.0f} s", flush=True)


def publish(archives: list[Path], notes: str, version: str, out: Path) -> None:
    """Copy the archives into the folder, and write the release notes with their checksums."""
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    for path in archives:
        content, target = path.read_bytes(), out / path.name
        if target.exists() and target.read_bytes() != content:
            sys.exit(f"{target}: exists and differs; remove it, or raise the version")
        target.write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")
    text = f"# msn-gan {version}\n\n{notes}\n## SHA-256\n\n" + "".join(f"    {line}" for line in lines)
    (out / f"release-notes-{version}.md").write_text(text, encoding="utf-8")
    print(f"written: {out}")


def git(root: Path, *words: str) -> str:
    """Run git in the clone; return what it wrote, or end the program."""
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
