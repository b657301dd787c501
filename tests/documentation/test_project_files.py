"""Changelog, citation, workflow and issue templates: their form, and that they agree with the package."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gan import __version__
from tests.documentation.pages import ROOT

YAML = sorted([*(ROOT / ".github").rglob("*.yml"), ROOT / "CITATION.cff"])


def read_yaml(name: str) -> Any:
    return pytest.importorskip("yaml").safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings[0] == "[Unreleased]"
    versions = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})", heading) for heading in headings[1:]]
    assert all(versions), headings
    numbers = [tuple(map(int, found[1].split("."))) for found in versions if found]
    assert numbers == sorted(set(numbers), reverse=True)
    assert __version__ in {found[1] for found in versions if found}
    kinds = set(re.findall(r"^### (.*)$", text, re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_files_can_be_read(path: Any) -> None:
    assert isinstance(read_yaml(path.relative_to(ROOT).as_posix()), dict)


def test_the_citation() -> None:
    """What version 1.2.0 of the schema requires, and the papers that the README cites."""
    citation = read_yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["version"] == __version__ and citation["title"] == "msn-gan" and citation["message"]
    for entry in (citation, *citation["references"]):
        assert entry["title"] and entry["type"] and entry["authors"]
        for author in entry["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})
    cited = set(re.findall(r"https://arxiv\.org/abs/[\d.]+", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert len(cited) >= 2 and cited <= {entry["url"] for entry in citation["references"]}
    released = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{__version__}] - {citation['date-released']}" in released


def test_the_workflow_covers_what_the_package_promises() -> None:
    workflow = read_yaml(".github/workflows/tests.yml")
    assert {"push", "pull_request"} <= set(workflow[True])  # YAML reads `on` as true
    matrix = workflow["jobs"]["tests"]["strategy"]["matrix"]
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    oldest = re.search(r'requires-python = ">=([\d.]+)"', metadata), re.search(r'"torch>=([\d.]+)"', metadata)
    assert [found and found[1] for found in oldest] == [matrix["python"][0], matrix["torch"][0]]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    vision = re.search(r'"torchvision>=([\d.]+)"', metadata)
    commands = "\n".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
    assert vision and f"torch=={matrix['torch'][0]}.*" in commands and f"torchvision=={vision[1]}.*" in commands
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(re.findall(r"make ([a-z-]+)", commands)) <= set(targets)
    for path in re.findall(r"\btests/[\w/]+", commands):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", ["bug_report", "feature_request"])
def test_issue_templates(name: str) -> None:
    form = read_yaml(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in fields)
    ids = [field["id"] for field in fields]
    assert len(ids) == len(set(ids))
    if name == "bug_report":
        required = [field["id"] for field in fields if field.get("validations", {}).get("required")]
        assert required == ["command", "message", "version"]
        assert any("msn-gan --version --verbose" in field["attributes"]["label"] for field in fields)
