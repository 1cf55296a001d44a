"""The shape of each step's result, without any array: what its operation says in letters, worked out.

A layer says its shapes above its first line (``npconv/layers/shapes.py``), and its rule is what stands there. For the
other operations, :data:`LETTERS` says the same. In a result, ``H'`` and ``W'`` are the numbers of windows down and
across, ``t+H*W`` is a sum of products, a letter of an array that is not given counts nothing, and the name of an
argument is its number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from npconv.errors import InputError, ShapeError
from npconv.layers.conv import count_windows
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Plan, Step

Shape = tuple[int, ...]

SAME = {"x": "...", "result": "..."}

#: Of the operations that do not say it themselves.
LETTERS: dict[str, Mapping[str, str]] = {
    "activation": SAME,
    "grn_strength": {"x": "N C H W", "result": "N C 1 1"},
    "grn_relative": SAME,
    "grn_apply": SAME,
    "layer_scale": SAME,
    "residual": SAME,
    "map_tokens": {"x": "N D H W", "result": "N H*W D"},
    "tokens": {"x": "N D H W", "cls_token": "1 t D", "result": "N t+H*W D"},
    "positions_map": {"x": "N T D", "like": "N D H W", "result": "N D H W"},
    "class_token": {"x": "N T D", "result": "N 1 D"},
    "join_class_token": {"cls_token": "N 1 D | N D", "x": "N T D", "result": "N 1+T D"},
    "join_nothing": SAME,
    "attention_scores": {"query": "N T D", "key": "N S D", "result": "N num_heads T S"},
    "attention_context": {"probabilities": "N h T S", "value": "N S D", "result": "N T D"},
    "num_batches_tracked": {"x": "...", "num_batches_tracked": "", "result": ""},
    "drop_path_mask": {"x": "N ...", "result": "N"},
    "dropout_mask": SAME,
    "drop_path": SAME,
    "dropout": SAME,
    "resize": {"image": "C H W", "result": "C height width"},
    "resize_float": {"image": "C H W", "result": "C height width"},
    "center_crop": {"image": "C H W", "result": "C height width"},
    "rescale": SAME,
    "normalize": SAME,
}


def letters_of(operation: str) -> Mapping[str, str]:
    """Return the letters of an operation's arrays by the names of its arguments, in their order, and ``result``."""
    said: Mapping[str, str] = getattr(OPERATIONS[operation], "shapes", None) or LETTERS[operation]
    return said


def result_shapes(plan: Plan, pixel_values: Shape, params: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape of each step's result by the step's name, and that of ``"pixel_values"``.

    Parameters
    ----------
    plan : Plan
    pixel_values : (N, C, H, W)
    params : mapping of str to shape
        Of the model's parameters by their names in a checkpoint.

    Raises
    ------
    InputError
        If the model cannot run on such pictures, or at all.
    """
    shapes = {"pixel_values": pixel_values}
    for step in plan:
        try:
            shapes[step.name] = result_shape(step, [shapes[name] for name in step.inputs], params)
        except InputError as error:
            raise ShapeError(f"{step.name}: {error}") from None
    return shapes


def result_shape(step: Step, inputs: Sequence[Shape], params: Mapping[str, Shape]) -> Shape:
    """Return the shape of a step's result; see :func:`result_shapes`."""
    if step.operation == "residual" and inputs[0] != inputs[1]:
        raise ShapeError(
            f"expected a branch of the shape {inputs[0]} of what it is added to, got {inputs[1]}; its strides must be "
            "1, and its paddings half of the kernel - 1"
        )
    letters, first = letters_of(step.operation), inputs[0]
    result = letters["result"].split()
    if result[-1] == "...":
        return first
    arrays = dict(zip(letters, inputs, strict=False)) | {name: params[full] for name, full in step.params.items()}
    lengths = dict(step.attributes)
    for name, shape in arrays.items():
        for form in letters.get(name, "").split("|"):
            axes = form.split()
            if axes[-1:] == ["..."]:
                lengths |= zip(axes, shape, strict=False)
            elif len(axes) == len(shape) or "..." in axes:
                lengths |= zip(reversed(axes), reversed(shape), strict=False)
    if "H'" in result:
        apart = step.attributes.get("dilation", 1)
        window = ((lengths["kh"] - 1) * apart + 1, (lengths["kw"] - 1) * apart + 1) if "kh" in lengths else (0, 0)
        kernel = step.attributes.get("kernel_size") or window
        lengths["H'"], lengths["W'"] = count_places(first[-2:], kernel, step.attributes)
    before = first[:-1] if result[0] == "..." else ()
    return (*before, *(evaluate(term, lengths) for term in result if term != "..."))


def count_places(size: Shape, kernel: int | Sequence[int], attributes: Mapping[str, Any]) -> tuple[int, int]:
    """Return at how many places a window can be, down and across; refuse none, and an average's too large padding."""
    sides, strides, pads = (as_pair(given) for given in (kernel, attributes["stride"], attributes["padding"]))
    counts = []
    for length, side, stride, pad in zip(size, sides, strides, pads, strict=True):
        if "kernel_size" in attributes and 2 * pad > side:
            raise InputError(f"expected a padding of at most half the window of {side}, got {pad}")
        if length + 2 * pad < side:
            raise InputError(
                f"a window of {side} does not fit into {length} positions with padding {pad}; use a larger picture"
            )
        counts.append(count_windows(length, side, stride, pad, attributes.get("ceil_mode", False)))
    return counts[0], counts[1]


def as_pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return (vertical, horizontal) of a size that is one number or two."""
    vertical, horizontal = (value, value) if isinstance(value, int) else value
    return vertical, horizontal


def evaluate(term: str, lengths: Mapping[str, int]) -> int:
    """Return a sum of products of letters and numbers, such as ``1+H*W``."""
    factors = (product.split("*") for product in term.split("+"))
    return sum(math.prod(int(f) if f.isdigit() else lengths.get(f, 0) for f in product) for product in factors)
