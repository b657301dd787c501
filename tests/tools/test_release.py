"""The release: what it refuses, its notes, and archives that are equal and complete."""

from __future__ import annotations

import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import fresh_environment
import pytest
import release
import wheel_examples

ROOT = Path(__file__).parents[2]
CHANGELOG = """# Changelog

## [Unreleased]

- Next.

## [1.2.3] - 2026-01-02

### Added

- A thing.

## [1.2.2] - 2026-01-01

- Before.

[1.2.3]: https://example.org
"""


def git(folder: Path, *words: str) -> None:
    person = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", *person, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A small project with the same build settings, committed."""
    folder = tmp_path / "clone"
    (folder / "gan/metrics").mkdir(parents=True)
    (folder / "gan/__init__.py").write_text('__version__ = "1.2.3"\n')
    (folder / "gan/py.typed").write_text("")
    for name in ("pyproject.toml", "MANIFEST.in", "LICENSE"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "README.md").write_text("# x\n")
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    (folder / "tests").mkdir()
    (folder / "tests/test_x.py").write_text("")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def test_a_dirty_tree_is_refused(clone: Path) -> None:
    release.require_clean(clone)
    (clone / "new.py").write_text("")
    with pytest.raises(SystemExit, match=r"has uncommitted changes: new.py; commit or remove them"):
        release.require_clean(clone)


def test_the_notes_are_those_of_the_version(clone: Path) -> None:
    assert release.version_of(clone) == "1.2.3"
    assert release.changelog_section(clone, "1.2.3") == "### Added\n\n- A thing.\n"
    assert release.changelog_section(clone, "1.2.2") == "- Before.\n"


@pytest.mark.parametrize("text", ["", "## [1.2.3] - 2026-01-02\n\n## [1.2.2] - 2026-01-01\n- x\n", "## [1.2.3]\n- x\n"])
def test_a_version_without_an_entry_is_refused(clone: Path, text: str) -> None:
    (clone / "CHANGELOG.md").write_text(text)
    with pytest.raises(SystemExit, match=r"CHANGELOG.md: has no entry `## \[1.2.3\] - YYYY-MM-DD`"):
        release.changelog_section(clone, "1.2.3")


def test_the_version_of_this_project() -> None:
    from gan import __version__

    assert release.version_of(ROOT) == __version__


def test_an_archive_is_independent_of_times_owners_and_order(tmp_path: Path) -> None:
    contents = []
    for number, names in enumerate((("a", "b"), ("b", "a"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name)
            os.utime(folder / name, (number, number))
            (folder / name).chmod(0o600 if number else 0o664)
        path = tmp_path / f"{number}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                archive.add(folder / name, name)
        before = path.read_bytes()
        release.normalize(path, 1_700_000_000)
        assert path.read_bytes() != before
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    with tarfile.open(tmp_path / "0.tar.gz") as archive:
        assert [(entry.name, entry.mode, entry.mtime) for entry in archive] == [
            ("a", 0o644, 1_700_000_000),
            ("b", 0o644, 1_700_000_000),
        ]


def test_unequal_builds_are_refused(tmp_path: Path) -> None:
    pairs = []
    for text in ("a", "b"):
        folder = tmp_path / text
        folder.mkdir()
        (folder / "x.whl").write_text(text)
        pairs.append((folder / "x.whl", folder / "x.whl"))
    with pytest.raises(SystemExit, match="x.whl: two builds differ"):
        release.require_equal(*pairs)


def test_another_file_of_the_same_name_is_kept(tmp_path: Path) -> None:
    new, out = tmp_path / "x.whl", tmp_path / "dist"
    new.write_text("a")
    release.publish([new], "- A.\n", "1.2.3", out)
    release.publish([new], "- A.\n", "1.2.3", out)  # the same bytes
    assert "- A." in (out / "release-notes-1.2.3.md").read_text()
    new.write_text("b")
    with pytest.raises(SystemExit, match="exists and differs"):
        release.publish([new], "- A.\n", "1.2.3", out)
    assert (out / "x.whl").read_text() == "a"


def test_the_examples_of_a_help_text() -> None:
    text = "Usage: x\n\n  Does.\n\n  Examples: msn-gan train a\n            msn-gan train b\n\nOptions:\n  --x\n"
    assert wheel_examples.examples_of(text) == ["msn-gan train a", "msn-gan train b"]
    assert wheel_examples.examples_of("Usage: x\n\nOptions:\n") == []
    assert wheel_examples.adapted("msn-gan data pack cifar10 --out x")[:3] == ["data", "pack", "train.zip"]


def test_the_files_of_another_clone_are_used(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples, and the versions of constraints.txt, are those of `--root`."""
    installed: list[tuple[object, ...]] = []
    checked: list[Path] = []
    monkeypatch.setattr(fresh_environment, "run", lambda *words, **_: installed.append(words))
    monkeypatch.setattr(wheel_examples, "check", lambda *arguments: checked.append(arguments[-1]) or 0)
    monkeypatch.setattr(release, "create_environment", lambda *_: Path("python"))
    monkeypatch.setattr(release, "unpack", lambda *_: tmp_path)
    monkeypatch.setattr(release.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    release.test(Path("x.tar.gz"), Path("x.whl"), tmp_path, "install", [], clone)
    assert checked == [clone] and str(clone / "constraints.txt") in installed[0]


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="is not a git clone")
def test_the_archives_of_this_project(tmp_path: Path) -> None:
    """Built twice with equal bytes; the examples of --help run with the wheel where only msn-gan is installed anew."""
    builds = [release.build(ROOT, tmp_path / name) for name in ("first", "second")]
    release.require_equal(*builds)
    source, wheel = builds[0]
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    data = {"gan/py.typed", "gan/metrics/digits.pt", "gan/report/templates/page.css", "gan/norm/__init__.py"}
    assert data <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"gan", "msn_gan"}
    unpacked = release.unpack(source, tmp_path / "unpacked")
    committed = set(release.git(ROOT, "ls-files").splitlines())
    assert committed <= {str(path.relative_to(unpacked)) for path in unpacked.rglob("*")}
    assert wheel_examples.check(wheel, tmp_path / "examples", "present") > 20
