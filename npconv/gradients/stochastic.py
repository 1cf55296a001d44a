"""Drop path and dropout backwards: the gradient is dropped and scaled as the forward pass was, by the same mask."""

from __future__ import annotations

from npconv import layers
from npconv.backend import Array
from npconv.gradients.gradient_of import gradient_of


@gradient_of(layers.drop_path, "x")
def drop_path_backward(grad_y: Array, mask: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.drop_path`: ``grad_y * mask``, as ``y = x * mask``.

    `mask` is what :func:`npconv.layers.drop_path_mask` drew for the forward pass: 0, or ``1 / (1 - rate)``.
    """
    return layers.drop(grad_y, mask)


@gradient_of(layers.dropout, "x")
def dropout_backward(grad_y: Array, mask: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.dropout`: ``grad_y * mask``, as ``y = x * mask``.

    `mask` is what :func:`npconv.layers.dropout_mask` drew for the forward pass: 0, or ``1 / (1 - rate)``.
    """
    return layers.drop(grad_y, mask)
