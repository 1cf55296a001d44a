"""For each operation a rule from the shapes that it takes to the shape that it gives, without any array.

A rule is called as its operation (``npconv/plan/operations.py``), with shapes in the place of arrays. The shapes of
inputs and results are those of one picture: without the axis N, so that a map is (C, H, W) and tokens are (T, D).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from npconv.errors import InputError
from npconv.plan.step import Plan

Shape = tuple[int, ...]


def result_shapes(plan: Plan, pixel_values: Shape, params: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape of each step's result by the step's name, and that of ``"pixel_values"``.

    Parameters
    ----------
    plan : Plan
    pixel_values : (C, H, W)
        Of the picture.
    params : mapping of str to shape
        Of the model's parameters by their names in a checkpoint.

    Raises
    ------
    InputError
        If the model cannot run on such a picture, or at all.
    """
    shapes = {"pixel_values": pixel_values}
    for step in plan:
        inputs = [shapes[name] for name in step.inputs]
        arguments = {name: params[full] for name, full in step.params.items()}
        try:
            shapes[step.name] = SHAPES[step.operation](*inputs, **arguments, **step.attributes)
        except InputError as error:
            raise InputError(f"{step.name}: {error}") from None
    return shapes


def same(x: Shape, *others: Shape, **rest: Any) -> Shape:
    """Rule of what works on each element, or on each channel: the shape stays."""
    return x


def conv2d(
    x: Shape,
    weight: Shape,
    bias: Shape | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
) -> Shape:
    """(C, H, W) -> (O, H', W'), depthwise as well."""
    return (weight[0], *count_windows(x, weight[2:], stride, padding))


def pointwise_conv2d(x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
    """(C, H, W) -> (O, H, W)."""
    return (weight[0], *x[1:])


def linear(x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
    """(..., C) -> (..., O)."""
    return (*x[:-1], weight[0])


def average_pool2d(
    x: Shape,
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    ceil_mode: bool,
) -> Shape:
    """(C, H, W) -> (C, H', W')."""
    for kernel, pad in zip(as_pair(kernel_size), as_pair(padding), strict=True):
        if 2 * pad > kernel:
            raise InputError(f"expected a padding of at most half the window of {kernel}, got {pad}")
    return (x[0], *count_windows(x, as_pair(kernel_size), stride, padding, ceil_mode=ceil_mode))


def global_average_pool(x: Shape) -> Shape:
    """(C, H, W) -> (C,)."""
    return x[:1]


def token_mean(x: Shape) -> Shape:
    """(T, D) -> (D,)."""
    return x[1:]


def grn_strength(x: Shape) -> Shape:
    """(C, H, W) -> (C, 1, 1)."""
    return (x[0], 1, 1)


def residual(x: Shape, branch: Shape) -> Shape:
    """Both have the same shape."""
    if x != branch:
        raise InputError(
            f"expected a branch of the shape {x} of what it is added to, got {branch}; its strides must be 1, and its "
            "paddings half of the kernel - 1"
        )
    return x


def map_tokens(x: Shape) -> Shape:
    """(D, H, W) -> (H * W, D)."""
    return (x[1] * x[2], x[0])


def tokens(x: Shape, cls_token: Shape | None = None) -> Shape:
    """(D, H, W) -> (T, D)."""
    return (x[1] * x[2] + (cls_token is not None), x[0])


def positions_map(x: Shape, like: Shape) -> Shape:
    """(T, D) -> (D, H, W)."""
    return (x[1], *like[1:])


def class_token(x: Shape, like: Shape) -> Shape:
    """(T, D) -> (T - H * W, D)."""
    return (x[0] - like[1] * like[2], x[1])


def join_class_token(cls_token: Shape, x: Shape) -> Shape:
    """(1, D) or (D,), (T, D) -> (1 + T, D)."""
    return (1 + x[0], x[1])


def attention_scores(query: Shape, key: Shape, *, num_heads: int, scale: float) -> Shape:
    """(T, D), (S, D) -> (h, T, S)."""
    return (num_heads, query[0], key[0])


def attention_context(probabilities: Shape, value: Shape) -> Shape:
    """(h, T, S), (S, D) -> (T, D)."""
    return (probabilities[1], value[1])


def resize(image: Shape, *, height: int, width: int, resample: int | str) -> Shape:
    """(C, H, W) -> (C, height, width)."""
    return (image[0], height, width)


def center_crop(image: Shape, *, height: int, width: int) -> Shape:
    """(C, H, W) -> (C, height, width)."""
    return (image[0], height, width)


def as_pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return (vertical, horizontal) of a size that is one number or two."""
    vertical, horizontal = (value, value) if isinstance(value, int) else value
    return vertical, horizontal


def count_windows(
    x: Shape,
    kernel: Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    *,
    ceil_mode: bool = False,
) -> tuple[int, int]:
    """Return how many windows fit into a map (C, H, W), downwards and across.

    Raises
    ------
    InputError
        If none does.
    """
    counts = []
    for size, k, step, pad in zip(x[1:], kernel, as_pair(stride), as_pair(padding), strict=True):
        steps = size + 2 * pad - k
        if steps < 0:
            raise InputError(
                f"a window of {k} does not fit into {size} positions with padding {pad}; use a larger picture"
            )
        count = (-(-steps // step) if ceil_mode else steps // step) + 1
        starts_beyond_the_map = ceil_mode and (count - 1) * step >= size + pad
        counts.append(count - 1 if starts_beyond_the_map else count)
    return counts[0], counts[1]


#: The rule of every operation of ``npconv.plan.operations.OPERATIONS``.
SHAPES: dict[str, Callable[..., Shape]] = {
    "conv2d": conv2d,
    "depthwise_conv2d": conv2d,
    "pointwise_conv2d": pointwise_conv2d,
    "linear": linear,
    "layer_norm": same,
    "batch_norm": same,
    "activation": same,
    "grn_strength": grn_strength,
    "grn_relative": same,
    "grn_apply": same,
    "layer_scale": same,
    "residual": residual,
    "global_average_pool": global_average_pool,
    "average_pool2d": average_pool2d,
    "token_mean": token_mean,
    "map_tokens": map_tokens,
    "tokens": tokens,
    "positions_map": positions_map,
    "class_token": class_token,
    "join_class_token": join_class_token,
    "join_nothing": same,
    "attention_scores": attention_scores,
    "softmax": same,
    "attention_context": attention_context,
    "resize": resize,
    "resize_float": resize,
    "center_crop": center_crop,
    "rescale": same,
    "normalize": same,
}
