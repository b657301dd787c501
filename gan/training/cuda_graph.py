"""A training step as one CUDA graph: the whole step is started by one call, not kernel by kernel.

A DCGAN's step at batch 64 is some thousand kernels of a few microseconds; starting them one by one takes a host longer
than a large GPU needs to run them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Protocol

import torch

from gan.config.train_config import TrainConfig
from gan.training.step_inputs import StepInputs
from gan.utils.progress import say

WARM_UP = 3  # steps that run kernel by kernel first: libraries choose algorithms, optimizers make their state


class Graph(Protocol):
    """What is used of torch.cuda.CUDAGraph."""

    def replay(self) -> None: ...


def why_not_captured(config: TrainConfig, ranks: int = 1) -> str | None:
    """Why the steps of a run cannot be captured, or None if they can."""
    if ranks > 1:
        return "several ranks exchange sums within a step"
    if config.deterministic:
        return "--deterministic chooses its kernels at each call"
    if config.r1 or config.r2 or config.gradient_penalty:
        return "--r1, --r2 and --gradient-penalty differentiate twice"
    return None


class CUDAGraphRunner:
    """A function of draws, captured at its fourth call and replayed from then on. All calls have draws of one shape.

    The first three calls run it as it is, on a stream of their own as capturing wants it. Where capturing fails it says
    why, and goes on without.

    Args:
        function: works on the device alone, on memory that stays where it is; what it changes, it changes in place.
        capture: makes a graph of a call; `torch.cuda`'s unless a test gives its own.
        stream: in which the first calls run.
    """

    def __init__(
        self,
        function: Callable[[list[StepInputs]], None],
        capture: Callable[[Callable[[], None]], Graph] | None = None,
        stream: Callable[[], AbstractContextManager[Any]] | None = None,
    ) -> None:
        self._function = function
        self._capture = capture or _capture
        self._stream = stream or _SideStream
        self._calls = 0
        self._inputs: list[StepInputs] = []
        self._graph: Graph | None = None
        self._failed = False

    def __call__(self, draws: list[StepInputs]) -> None:
        if self._failed:
            self._function(draws)
            return
        if self._calls < WARM_UP:
            self._calls += 1
            with self._stream():
                self._function(draws)
            return
        if self._graph is None:
            self._inputs = [draw.clone() for draw in draws]
            try:
                self._graph = self._capture(lambda: self._function(self._inputs))
            except RuntimeError as error:
                self._failed = True
                say(f"steps run one kernel at a time, a CUDA graph could not be made: {str(error).splitlines()[0]}")
        if self._graph is None:  # here, where the error does not hold what it was made of in memory any more
            self._function(draws)
            return
        for mine, theirs in zip(self._inputs, draws, strict=True):
            for target, source in zip(mine.tensors(), theirs.tensors(), strict=True):
                target.copy_(source, non_blocking=True)
        self._graph.replay()


def _capture(call: Callable[[], None]) -> Graph:
    graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    gc.collect()  # to free another graph's memory while one is made is an error
    try:
        # Other threads may go on with CUDA, those that load images among them.
        with torch.cuda.graph(graph, stream=_own_stream(), capture_error_mode="thread_local"):
            call()
    except BaseException:
        torch.cuda.set_stream(before)  # torch before 2.10 would stay in the one that it captured in
        raise
    return graph


@cache
def _own_stream() -> torch.cuda.Stream:
    """The stream that steps are warmed up and captured in: one, for cuBLAS keeps memory for each that it works in."""
    return torch.cuda.Stream()


class _SideStream:
    """A context in which work runs on a stream of its own, after what was asked for before and before what comes."""

    def __enter__(self) -> None:
        self._stream = _own_stream()
        self._stream.wait_stream(torch.cuda.current_stream())
        self._context = torch.cuda.stream(self._stream)
        self._context.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._context.__exit__(*exception)
        torch.cuda.current_stream().wait_stream(self._stream)
