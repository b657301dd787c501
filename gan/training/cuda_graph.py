"""Capture a training step as one CUDA graph, so that one call starts all of its kernels.

A DCGAN's step at batch 64 is about a thousand kernels of a few microseconds each; to start them one by one takes the
host longer than a large GPU needs to run them.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Protocol

import torch

from gan.config.train_config import TrainConfig
from gan.runtime import Runtime
from gan.training.step_inputs import StepInputs
from gan.utils.progress import say

WARM_UP = 3  # steps run kernel by kernel first: libraries choose algorithms, optimizers create their state

Step = Callable[[int, list[StepInputs]], None]


class Graph(Protocol):
    """The part of torch.cuda.CUDAGraph that is used."""

    def replay(self) -> None: ...


def why_not_captured(config: TrainConfig, ranks: int = 1) -> str | None:
    """The reason why the steps of a run cannot be captured, or None if they can."""
    if ranks > 1:
        return "several ranks exchange sums within a step"
    if config.deterministic:
        return "--deterministic chooses its kernels at each call"
    if config.penalties() and config.penalty_cycle() > 1:
        return f"--penalty-every {config.penalty_every} makes steps differ"
    return None


def is_captured(config: TrainConfig, runtime: Runtime) -> bool:
    """True if `capture_if_possible` captures the steps of this run as a CUDA graph."""
    return runtime.device.type == "cuda" and why_not_captured(config, runtime.ranks) is None


def capture_if_possible(step: Step, config: TrainConfig, runtime: Runtime) -> Step:
    """The step as a CUDA graph where the device and the config allow it, else the step as it is."""
    if runtime.device.type != "cuda":
        return step
    if reason := why_not_captured(config, runtime.ranks):
        say(f"steps run kernel by kernel, not as one CUDA graph: {reason}")
        return step
    return CUDAGraphRunner(step)


class CUDAGraphRunner:
    """Runs a step, captures it at the fourth call and replays it from then on. All calls have inputs of one shape.

    The first three calls run the step kernel by kernel on a stream of their own, as capturing requires. If capturing
    fails, a message gives the reason and all further calls run kernel by kernel.

    Args:
        function: called with the number of the step and its inputs. It works on the device alone, changes tensors in
            place, and does not depend on the number when captured.
        capture: makes a graph of a call; `torch.cuda`'s unless a test passes its own.
        stream: context in which the first calls run.
    """

    def __init__(
        self,
        function: Step,
        capture: Callable[[Callable[[], None]], Graph] | None = None,
        stream: Callable[[], AbstractContextManager[Any]] | None = None,
    ) -> None:
        self._function = function
        self._capture = capture or _capture
        self._stream = stream or _side_stream
        self._calls = 0
        self._inputs: list[StepInputs] = []
        self._graph: Graph | None = None
        self._failed = False

    def __call__(self, step: int, inputs: list[StepInputs]) -> None:
        if self._failed:
            self._function(step, inputs)
            return
        if self._calls < WARM_UP:
            self._calls += 1
            with self._stream():
                self._function(step, inputs)
            return
        if self._graph is None:
            self._inputs = [update.clone() for update in inputs]
            try:
                self._graph = self._capture(lambda: self._function(step, self._inputs))
            except RuntimeError as error:
                self._failed = True
                say(f"steps run kernel by kernel, a CUDA graph could not be made: {str(error).splitlines()[0]}")
        if self._graph is None:  # outside of the except block, where the error would keep the step's tensors alive
            self._function(step, inputs)
            return
        for captured, update in zip(self._inputs, inputs, strict=True):
            for target, source in zip(captured.tensors(), update.tensors(), strict=True):
                target.copy_(source, non_blocking=True)
        self._graph.replay()


def _capture(call: Callable[[], None]) -> Graph:
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    gc.collect()  # freeing another graph's memory during a capture is an error
    try:
        # Other threads, such as those that load images, may use CUDA meanwhile.
        with torch.cuda.graph(graph, stream=_own_stream(), capture_error_mode="thread_local"):
            call()
    except BaseException:
        torch.cuda.set_stream(stream)  # after a failure, torch before 2.10 stays in the stream of the capture
        raise
    return graph


@cache
def _own_stream() -> torch.cuda.Stream:
    """The stream in which steps are warmed up and captured; a single one, as cuBLAS reserves memory for each."""
    return torch.cuda.Stream()


@contextmanager
def _side_stream() -> Iterator[None]:
    """Run the block on `_own_stream`, after earlier and before later work of the current stream."""
    stream = _own_stream()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        torch.cuda.current_stream().wait_stream(stream)
