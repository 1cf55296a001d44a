"""The shape of each step's result, without any array: what its operation says in letters, worked out.

A layer says its shapes above its first line (``npconv/layers/shapes.py``), and its rule is what stands there. For the
other operations, :data:`LETTERS` says the same. In a result, ``H'`` and ``W'`` are the numbers of windows down and
across, ``t+H*W`` is a sum of products, a letter of an array that is not given counts nothing, and the name of an
argument is its number.

A backward operation has the letters of its layer: a gradient is of the shape of what it is the gradient of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npconv.errors import InputError, ShapeError
from npconv.gradients.gradient_of import UPSTREAM
from npconv.layers.conv import count_windows
from npconv.layers.letters import Shape, axes_of, bind, evaluate
from npconv.messages import shown
from npconv.plan.operations import OPERATIONS
from npconv.plan.operations_backward import Rule, passed_back
from npconv.plan.step import Plan, Step

SAME = {"x": "...", "result": "..."}

#: Of the operations that do not say it themselves.
LETTERS: dict[str, Mapping[str, str]] = {
    "activation": SAME,
    "residual": {"x": "...", "branch": "...", "result": "..."},
    "tokens": {"x": "N D H W", "cls_token": "1 t D", "result": "N t+H*W D"},
    "positions_map": {"x": "N T D", "like": "N D H W", "result": "N D H W"},
    "class_token": {"x": "N T D", "result": "N 1 D"},
    "join_nothing": SAME,
    "drop_path": {"x": "N ...", "mask": "N", "result": "N ..."},
    "dropout": {"x": "...", "mask": "...", "result": "..."},
    "half_square": {"x": "...", "result": ""},
    "sum_gradients": SAME,
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


def result_shapes(plan: Plan, pixel_values: Shape, params: Mapping[str, Shape], **others: Shape) -> dict[str, Shape]:
    """Return the shape of each step's result by the step's name, and of what the plan starts from.

    Parameters
    ----------
    plan : Plan
    pixel_values : (N, C, H, W)
    params : mapping of str to shape
        Of the model's parameters by their names in a checkpoint.
    **others : shape
        Of what else the plan starts from, such as ``labels``.

    Raises
    ------
    InputError
        If the model cannot run on such pictures, or at all.
    """
    shapes = {"pixel_values": pixel_values, **others}
    for step in plan:
        try:
            shapes[step.name] = result_shape(step, [shapes[name] for name in step.inputs], params)
        except InputError as error:
            raise ShapeError(f"{step.name}: {error}") from None
    return shapes


def result_shape(step: Step, inputs: Sequence[Shape], params: Mapping[str, Shape]) -> Shape:
    """Return the shape of a step's result; see :func:`result_shapes`."""
    rule = passed_back(step.operation)
    if rule is not None:
        return gradient_shape(step, rule, inputs, params)
    if step.operation == "residual" and inputs[0] != inputs[1]:
        raise ShapeError(
            f"expected a branch of the shape {inputs[0]} of what it is added to, got {inputs[1]}; its strides must be "
            "1, and its paddings half of the kernel - 1"
        )
    letters, first = letters_of(step.operation), inputs[0]
    result = letters["result"].split()
    if result[-1:] == ["..."]:
        return first
    arrays = dict(zip(letters, inputs, strict=False)) | {name: params[full] for name, full in step.params.items()}
    lengths = dict(step.attributes)
    for name, shape in arrays.items():
        lengths |= zip(axes_of(letters.get(name, ""), shape) or (), shape, strict=False)
    if "H'" in result:
        lengths["H'"], lengths["W'"] = count_places(first[-2:], lengths)
    before = first[:-1] if result[:1] == ["..."] else ()
    return (*before, *(evaluate(term, lengths) for term in result if term != "..."))


def gradient_shape(step: Step, rule: Rule, inputs: Sequence[Shape], params: Mapping[str, Shape]) -> Shape:
    """Return the shape of what a backward step gives: that of the argument which `wrt` names.

    That argument may not be among what the step takes: the length of a convolution's bias is read off `grad_y`. What
    the step takes must fit letter by letter, or it could be stretched to any size.
    """
    wrt = step.attributes.get("wrt")
    if wrt not in rule.gives:
        raise InputError(f"{step.operation}: expected wrt to be one of {', '.join(rule.gives)}; got {shown(wrt)}")
    letters = letters_of(rule.operation)
    lengths = dict(step.attributes)
    arrays = rule.given(step, inputs, params)
    grad_y = arrays.pop(UPSTREAM)
    for name, shape in arrays.items():
        text = letters.get(name, letters["result"] if name == "y" else None)
        if text is not None:
            bind(step.operation, name, text, shape, lengths)
    if "H'" in letters["result"]:
        lengths["H'"], lengths["W'"] = count_places(arrays["x"][-2:], lengths)
    bind(step.operation, UPSTREAM, letters["result"], grad_y, lengths)
    if wrt in arrays or "..." in letters[wrt]:
        return arrays.get(wrt, grad_y)
    return tuple(evaluate(term, lengths) for term in letters[wrt].split())


def count_places(size: Shape, lengths: Mapping[str, Any]) -> tuple[int, int]:
    """Return at how many places a window can be, down and across; refuse none, and an average's too large padding.

    `lengths` are those of a kernel, and the attributes of the step.
    """
    dilation = lengths.get("dilation", 1)
    kernel = lengths.get("kernel_size") or [(lengths.get(side, 0) - 1) * dilation + 1 for side in ("kh", "kw")]
    sides, strides, pads = (as_pair(given) for given in (kernel, lengths["stride"], lengths["padding"]))
    counts = []
    for length, side, stride, pad in zip(size, sides, strides, pads, strict=True):
        if "kernel_size" in lengths and 2 * pad > side:
            raise InputError(f"expected a padding of at most half the window of {side}, got {pad}")
        if length + 2 * pad < side:
            raise InputError(
                f"a window of {side} does not fit into {length} positions with padding {pad}; use a larger picture"
            )
        counts.append(count_windows(length, side, stride, pad, lengths.get("ceil_mode", False)))
    return counts[0], counts[1]


def as_pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return (vertical, horizontal) of a size that is one number or two."""
    vertical, horizontal = (value, value) if isinstance(value, int) else value
    return vertical, horizontal
