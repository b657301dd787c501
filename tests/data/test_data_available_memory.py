from __future__ import annotations

import pytest

from gan.data import loading
from gan.data.loading import load_images
from gan.utils import memory
from gan.utils.memory import _control_group_memory, _machine_memory, format_bytes


@pytest.mark.parametrize(
    ("size", "text"),
    [(7, "7 bytes"), (1536, "1.5 kB"), (153_600_000, "154 MB"), (9_900_000_000, "9.9 GB"), (2 * 10**12, "2,000 GB")],
)
def test_amounts_are_told_for_people(size, text):
    assert format_bytes(size) == text


def test_this_machine_has_memory():
    assert 10**6 < memory.available_memory() < 10**15


def test_the_machine_tells(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable:      50 kB\n")
    assert _machine_memory(tmp_path / "meminfo") == 51200
    assert _machine_memory(tmp_path / "none") > 10**6


def test_control_groups_of_version_2(tmp_path):
    (tmp_path / "cgroup").write_text("0::/outer/inner\n")
    inner = tmp_path / "sys" / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("1000\n")
    (inner.parent / "memory.current").write_text("700\n")
    (inner.parent / "memory.stat").write_text("anon 10\ninactive_file 200\n")
    assert _control_group_memory(tmp_path / "cgroup", tmp_path / "sys") == 500


def test_control_groups_of_version_1_seen_from_a_container(tmp_path):
    (tmp_path / "cgroup").write_text("5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n")
    (tmp_path / "sys" / "memory").mkdir(parents=True)
    (tmp_path / "sys" / "memory" / "memory.limit_in_bytes").write_text("1000\n")
    (tmp_path / "sys" / "memory" / "memory.usage_in_bytes").write_text("300\n")
    assert _control_group_memory(tmp_path / "cgroup", tmp_path / "sys") == 700


def test_no_control_groups(tmp_path):
    assert _control_group_memory(tmp_path / "none", tmp_path / "none") > 10**15


@pytest.mark.parametrize("free", [2 * 12 * 192, 2 * 12 * 192 - 2])
def test_half_of_the_memory_is_the_limit_and_is_told(classes_folder, monkeypatch, capsys, free):
    monkeypatch.setattr(loading, "available_memory", lambda: free)
    images = load_images(str(classes_folder), resolution=8, channels=3)
    told = capsys.readouterr().err
    assert told.startswith("12 images at 8x8x3: 2.3 kB")
    fits = 12 * 192 <= free / 2
    assert (images.pixels is not None) == fits
    assert ("in memory\n" in told) == fits
    assert ("more than half of the 4.6 kB of memory available; streamed from disk" in told) != fits
