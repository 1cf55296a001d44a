"""The backward function of each operation of ``npconv/plan/operations_forward.py``, and what it takes and gives.

Nearly all are functions of ``npconv.gradients`` and stand here by name alone. The others belong to the operations that
are a plan's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from npconv import gradients
from npconv.backend import Array
from npconv.gradients.gradient_of import SHAPE, UPSTREAM, gradient_of
from npconv.plan import operations_forward as forward
from npconv.plan.step import Step


@gradient_of(forward.activation, "x")
def activation_backward(grad_y: Array, x: Array, *, hidden_act: str) -> Array:
    """Return the gradient of `x` of the activation of a name."""
    return gradients.activation_backward(hidden_act)(grad_y, x)


@gradient_of(forward.residual, "x", "branch")
def residual_backward(grad_y: Array) -> tuple[Array, Array]:
    """Return the gradients of both terms of a sum: `grad_y` for each."""
    return grad_y, grad_y


@gradient_of(forward.tokens, "x", "cls_token")
def tokens_backward(
    grad_y: Array, x_shape: Sequence[int], cls_token_shape: Sequence[int] | None = None
) -> tuple[Array, Array]:
    """Return the gradients of a map and of the class token, which is none if there was none."""
    if cls_token_shape is None:
        return gradients.map_tokens_backward(grad_y, x_shape), grad_y[:, :0]
    grad_token, grad_positions = gradients.join_class_token_backward(grad_y, cls_token_shape)
    return gradients.map_tokens_backward(grad_positions, x_shape), grad_token


@gradient_of(forward.join_nothing, "x")
def join_nothing_backward(grad_y: Array) -> Array:
    """Return the gradient of `x`: `grad_y` as it is."""
    return grad_y


@gradient_of(forward.half_square, "x")
def half_square_backward(grad_y: Array, x: Array) -> Array:
    """Return the gradient of `x`: `x` itself, times `grad_y`."""
    return grad_y * x


#: The backward function of every operation that has one, by the operation's name.
BACKWARD: dict[str, Callable[..., Any]] = {
    name: function
    for name in forward.FORWARD
    if (function := globals().get(f"{name}_backward") or getattr(gradients, f"{name}_backward", None)) is not None
}


class Rule(NamedTuple):
    """How gradients pass a kind of step: the backward function, what it takes and what it gives, by argument."""

    operation: str
    function: Callable[..., Any]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    #: The arguments of the operation that are inputs of a step, in order.
    inputs: tuple[str, ...]

    def sources(self, step: Step) -> dict[str, str]:
        """Return the names of the arrays and parameters that a step gives gradients to, by argument."""
        named = {**dict(zip(self.inputs, step.inputs, strict=False)), **step.params}
        return {argument: named[argument] for argument in self.gives if argument in named}

    def kept(self, step: Step) -> dict[str, str]:
        """Return the names of the arrays of the forward pass that are needed, by the argument each is given as."""
        named = {"y": step.name, **dict(zip(self.inputs, step.inputs, strict=False))}
        return {argument: named[name] for argument in self.takes if (name := argument.removesuffix(SHAPE)) in named}

    def run(self, step: Step, grad_y: Array, arrays: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Array]:
        """Return the gradients that a step gives, by the argument; of `arrays` some may be shapes only."""
        given = {argument: arrays[name] for argument, name in self.kept(step).items()}
        for name, full in step.params.items():
            given |= {argument: params[full] for argument in (name, f"{name}{SHAPE}") if argument in self.takes}
        for argument, value in given.items():
            if argument.endswith(SHAPE):
                given[argument] = getattr(value, "shape", value)
        found = self.function(grad_y, **given, **step.attributes)
        return dict(zip(self.gives, found if len(self.gives) > 1 else (found,), strict=True))

    def given(self, step: Step, inputs: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the step of a backward operation takes, by argument; whole arrays in place of shapes."""
        names = (name.removesuffix(SHAPE) for name in (UPSTREAM, *self.takes))
        return dict(zip(names, inputs, strict=False)) | {name: params[full] for name, full in step.params.items()}


@cache
def rule_of(operation: str) -> Rule | None:
    """Return how gradients pass an operation; None if they do not, as of a random mask."""
    function: Any = BACKWARD.get(operation)
    if function is None:
        return None
    takes = tuple(inspect.signature(function).parameters)[1:]
    arguments = inspect.signature(forward.FORWARD[operation]).parameters.values()
    return Rule(
        operation, function, takes, function.gives, tuple(p.name for p in arguments if p.kind is not p.KEYWORD_ONLY)
    )


def passed_back(operation: str) -> Rule | None:
    """Return the rule of the operation that a backward operation is of; None for operations of a model."""
    return rule_of(operation.removesuffix("_backward")) if operation.endswith("_backward") else None


def single(operation: str) -> Callable[..., Array]:
    """Return what computes one of the gradients that an operation gives, as a step can: that of the argument `wrt`.

    It takes the upstream gradient and the arrays that the backward function takes, in that order, in place of shapes
    the arrays themselves; parameters and attributes by name.
    """
    rule = rule_of(operation)
    assert rule is not None, operation

    def gradient(grad_y: Array, *arrays: Array, wrt: str, **arguments: Any) -> Array:
        given: dict[str, Any] = dict(zip(rule.takes, arrays, strict=False))
        for name, value in arguments.items():
            given[name if name in rule.takes else f"{name}{SHAPE}"] = value
        shaped = {name: value.shape if name.endswith(SHAPE) else value for name, value in given.items()}
        found = rule.function(grad_y, **shaped)
        return found[rule.gives.index(wrt)] if len(rule.gives) > 1 else found

    gradient.__name__ = f"{operation}_backward"
    return gradient
