from __future__ import annotations

import os
import threading
import time
from contextlib import closing

import pytest

from gan.data.thread_map import thread_map, worker_count


def threads_of(seconds: float, count: int = 40) -> tuple[list[range], set[int]]:
    """The runs in the order of the results, and the threads that processed them."""
    seen: set[int] = set()

    def work(run: range) -> range:
        seen.add(threading.get_ident())
        time.sleep(seconds if run.start % 8 else 2 * seconds)
        return run

    with closing(thread_map(work, count, 4)) as results:
        return list(results), seen


@pytest.mark.parametrize("seconds", [0.0, 0.004])
def test_results_come_in_order(seconds):
    runs, _ = threads_of(seconds, 42)
    assert [number for run in runs for number in run] == list(range(42))


def test_slow_work_is_done_in_threads_and_fast_work_is_not(monkeypatch):
    monkeypatch.setattr("gan.data.thread_map.worker_count", lambda: 3)
    assert len(threads_of(0.01)[1]) == 4
    monkeypatch.setattr("gan.data.thread_map._SLOW", 10.0)
    assert threads_of(0.0)[1] == {threading.get_ident()}


def test_threads_are_as_many_as_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert worker_count() == 2


def test_leaving_early_stops_the_threads():
    done: list[range] = []

    def work(run: range) -> None:
        time.sleep(0.005)
        done.append(run)

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), closing(thread_map(work, 10_000, 4)) as results:
        for number, _ in enumerate(results):
            if number == 5:
                raise KeyboardInterrupt
    assert not set(threading.enumerate()) - before
    assert len(done) < 2000


def test_a_failure_comes_through():
    def work(run: range) -> None:
        time.sleep(0.003)
        if 30 in run:
            raise ValueError("number 30")

    with pytest.raises(ValueError, match="number 30"), closing(thread_map(work, 100, 4)) as results:
        list(results)


def test_nothing_to_do():
    assert list(thread_map(len, 0)) == []
