"""Autograd's engine in Python, for tensors on a device that this machine does not have.

torch's engine asks the driver for the streams of a CUDA tensor, which fails without a GPU even if the tensor is fake.
This one calls the same backward functions, in an order that the graph allows, and checks and reduces their results as
torch's engine does (`validate_outputs`): a gradient on another device than its tensor is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

Edge = tuple[Any, int]  # a node, and the number of its input


def backward(
    tensors: Tensor,
    grad_tensors: None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: None = None,
) -> None:
    """Replace `torch.autograd.backward` for one scalar: add the gradients of all leaves to their `grad`."""
    assert grad_tensors is None and inputs is None
    _run(tensors, [], create_graph)


def grad(
    outputs: Tensor,
    inputs: Tensor | Sequence[Tensor],
    *,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Replace `torch.autograd.grad` for one scalar: its gradients with respect to the inputs."""
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    edges = [(edge.node, edge.output_nr) for edge in map(get_gradient_edge, inputs)]
    found = _run(outputs, edges, create_graph)
    values = [found.get(edge) for edge in edges]
    if materialize_grads:
        return tuple(torch.zeros_like(x) if g is None else g for x, g in zip(inputs, values, strict=True))
    if not allow_unused and any(value is None for value in values):
        raise RuntimeError("one of the inputs does not affect the output")
    return tuple(values)


def _run(root: Tensor, wanted: list[Edge], create_graph: bool) -> dict[Edge, Tensor]:
    """Run the backward functions of a scalar's graph; the gradients at the wanted edges, or those of leaves added."""
    edge = get_gradient_edge(root)
    pending = _dependencies(edge.node)
    targets = {node for node, _ in wanted}
    gradients: dict[Any, dict[int, Tensor]] = {edge.node: {edge.output_nr: torch.ones_like(root)}}
    found: dict[Edge, Tensor] = {}
    ready = [edge.node]
    with torch.set_grad_enabled(create_graph):
        while ready:
            node = ready.pop()
            received = gradients.pop(node, {})
            found |= {(node, number): value for number, value in received.items() if (node, number) in wanted}
            leaf = not node.next_functions
            results = _call(node, received) if received and not (targets and leaf) else ()
            for (following, number), result in zip(node.next_functions, results, strict=False):
                if following is not None and result is not None:
                    _add(gradients.setdefault(following, {}), number, _checked(result, following, number, node))
            for following, _ in node.next_functions:
                if following is not None:
                    pending[following] -= 1
                    if not pending[following]:
                        ready.append(following)
    return found


def _dependencies(root: Any) -> dict[Any, int]:
    """The number of edges that lead to each node of a graph."""
    count: dict[Any, int] = {root: 0}
    waiting = [root]
    while waiting:
        for following, _ in waiting.pop().next_functions:
            if following is not None:
                if following not in count:
                    count[following] = 0
                    waiting.append(following)
                count[following] += 1
    return count


def _call(node: Any, received: dict[int, Tensor]) -> Sequence[Tensor | None]:
    """Call a backward function: a gradient for each edge. None stands for that of an output without a use."""
    arguments: list[Tensor | None] = [received.get(number) for number in range(len(node._input_metadata))]
    if not isinstance(node, torch.autograd.function.BackwardCFunction):
        results = node(*arguments)
        return results if isinstance(results, tuple) else (results,)
    results = node.apply(*arguments)
    results = results if isinstance(results, tuple) else (results,)
    # One result for each argument of `forward`, and one edge for each of those that is a tensor.
    needed = iter([result for result, need in zip(results, node.needs_input_grad, strict=True) if need])
    return [None if following is None else next(needed) for following, _ in node.next_functions]


def _add(received: dict[int, Tensor], number: int, value: Tensor) -> None:
    received[number] = received[number] + value if number in received else value


def _checked(gradient: Tensor, node: Any, number: int, source: Any) -> Tensor:
    """The gradient, summed to the shape and cast to the dtype of its tensor."""
    expected = node._input_metadata[number]
    if gradient.device != expected.device:
        raise RuntimeError(f"{source.name()} returned a gradient on {gradient.device}, expected {expected.device}")
    if gradient.shape != expected.shape:
        gradient = gradient.sum_to_size(expected.shape)
    return gradient.to(expected.dtype)
