"""The backward function of each operation of ``npconv/plan/operations.py``.

Nearly all are functions of ``npconv.gradients`` and stand here by name alone. The others belong to the operations that
are a plan's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from npconv import gradients
from npconv.backend import Array
from npconv.gradients.gradient_of import gradient_of
from npconv.plan import operations


@gradient_of(operations.activation, "x")
def activation_backward(grad_y: Array, x: Array, *, hidden_act: str) -> Array:
    """Return the gradient of `x` of the activation of a name."""
    return gradients.activation_backward(hidden_act)(grad_y, x)


@gradient_of(operations.residual, "x", "branch")
def residual_backward(grad_y: Array) -> tuple[Array, Array]:
    """Return the gradients of both terms of a sum: `grad_y` for each."""
    return grad_y, grad_y


@gradient_of(operations.tokens, "x", "cls_token")
def tokens_backward(
    grad_y: Array, x_shape: Sequence[int], cls_token_shape: Sequence[int] = (1, 0, 1)
) -> tuple[Array, Array]:
    """Return the gradients of a map and of the class token, which is none if there was none."""
    grad_token, grad_positions = gradients.join_class_token_backward(grad_y, cls_token_shape)
    return gradients.map_tokens_backward(grad_positions, x_shape), grad_token


@gradient_of(operations.join_nothing, "x")
def join_nothing_backward(grad_y: Array) -> Array:
    """Return the gradient of `x`: `grad_y` as it is."""
    return grad_y


#: The backward function of every operation that has one, by the operation's name.
BACKWARD: dict[str, Callable[..., Any]] = {
    name: function
    for name in operations.OPERATIONS
    if (function := globals().get(f"{name}_backward") or getattr(gradients, f"{name}_backward", None)) is not None
}
