"""Fewer bits: what goes into a step, its parameters, or what comes out, rounded to half precision or TF32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.kinds.change import Change, Place
from npconv.golden.roundings import to_bits, to_float16
from npconv.plan.shapes import as_pair

KIND = "precision"


def _half(array: np.ndarray) -> np.ndarray:
    """Return an array rounded to float32, as a port has it, and then to float16."""
    return to_float16(array.astype(np.float32)).astype(array.dtype)


FORMATS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float16": _half,
    "bfloat16": partial(to_bits, bits=7),
    "TF32": partial(to_bits, bits=10),
}


def precision(place: Place) -> Iterator[Change]:
    """Give out the step with fewer bits."""
    yield from _whole_numbers(place)
    for name, rounded in FORMATS.items():
        if place.step.operation in ROUNDED:
            throughout = partial(ROUNDED[place.step.operation], rounded)
            yield Change(KIND, f"computed in {name} throughout", place.step, throughout, {"format": name})
    for name, rounded in FORMATS.items():
        for says, of_inputs, of_params, of_result in (
            (f"its inputs rounded to {name}", True, False, False),
            (f"its parameters rounded to {name}", False, True, False),
            (f"its inputs and parameters rounded to {name}", True, True, False),
            (f"its inputs and its result rounded to {name}", True, False, True),
            (f"all of it rounded to {name}", True, True, True),
        ):
            if place.step.params or not of_params:
                function = _with_bits(place, rounded, of_inputs, of_params, of_result)
                yield Change(KIND, says, place.step, function, {"format": name})
        yield place.of_result(KIND, f"its result rounded to {name}", rounded, format=name)


def _whole_numbers(place: Place) -> Iterator[Change]:
    """Give out the step on inputs, or with a result, of 255 levels."""
    for says, axes in (("one scale", None), ("a scale for each last axis", -1), ("a scale for each channel", 1)):
        made = partial(levels, axes)
        if axes is None or place.right.ndim > abs(axes):
            yield place.of_result(KIND, f"its result rounded to int8, {says}", made, format="int8")
            yield place.of_inputs(KIND, f"its inputs rounded to int8, {says}", partial(_each, made), format="int8")


def _each(function: Callable[[Any], Any], *inputs: Any) -> tuple[Any, ...]:
    """Return every input through a function."""
    return tuple(map(function, inputs))


def levels(kept: int | None, array: np.ndarray) -> np.ndarray:
    """Return an array rounded to 255 levels: of all of it, or for each place of one axis, or along the last."""
    axes = None if kept is None else (-1 if kept == -1 else tuple(a for a in range(array.ndim) if a != kept))
    step = np.abs(array).max(axis=axes, keepdims=kept is not None) / 127
    return (np.rint(array / np.where(step == 0, 1, step)) * step).astype(array.dtype)


def _softmax(r: Rounded, x: Any, *, axis: int) -> Any:
    """Every difference, exponential, sum and quotient rounded."""
    e = r(np.exp(r(r(x) - r(x).max(axis=axis, keepdims=True))))
    return r(e / r(e.sum(axis=axis, keepdims=True)))


def _layer_norm(r: Rounded, x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Every mean, difference, square and quotient rounded."""
    shape = [-1 if place == axis % x.ndim else 1 for place in range(x.ndim)]
    x = r(x)
    deviation = r(x - r(x.mean(axis=axis, keepdims=True)))
    variance = r(r(deviation * deviation).mean(axis=axis, keepdims=True))
    normal = r(deviation / r(np.sqrt(r(variance + eps))))
    return r(r(normal * r(weight).reshape(shape)) + r(bias).reshape(shape))


def _batch_norm(
    r: Rounded, x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float, **others: Any
) -> Any:
    """Every difference, product and quotient rounded."""
    w, b, m, v = (r(array)[:, None, None] for array in (weight, bias, running_mean, running_var))
    return r(r(r(r(r(x) - m) / r(np.sqrt(r(v + eps)))) * w) + b)


def _grn_strength(r: Rounded, x: Any) -> Any:
    """Every square, sum and root rounded."""
    return r(np.sqrt(r(np.square(r(x)).sum(axis=(2, 3), keepdims=True))))


def _grn_relative(r: Rounded, strength: Any, *, eps: float) -> Any:
    """Round the mean, the sum and the quotient."""
    return r(r(strength) / r(r(r(strength).mean(axis=1, keepdims=True)) + eps))


def _grn_apply(r: Rounded, x: Any, relative: Any, weight: Any, bias: Any) -> Any:
    """Every product and sum rounded."""
    x, w, b = r(x), r(weight).reshape(-1, 1, 1), r(bias).reshape(-1, 1, 1)
    return r(r(r(w * r(x * r(relative))) + b) + x)


def _depthwise(
    r: Rounded, x: Any, weight: Any, bias: Any = None, *, stride: Any = 1, padding: Any = 0, dilation: int = 1
) -> Any:
    """Every product and every sum rounded."""
    (rows, columns), (down, right) = as_pair(padding), as_pair(stride)
    padded = np.pad(r(x), ((0, 0), (0, 0), (rows, rows), (columns, columns)))
    sides = [(side - 1) * dilation for side in weight.shape[2:]]
    height = (padded.shape[2] - sides[0] - 1) // down + 1
    width = (padded.shape[3] - sides[1] - 1) // right + 1
    y: Any = 0.0
    for u, v in np.ndindex(weight.shape[2:]):
        part = padded[:, :, u * dilation :: down, v * dilation :: right][:, :, :height, :width]
        y = r(y + r(part * r(weight)[:, 0, u, v, None, None]))
    return y if bias is None else r(y + r(bias)[:, None, None])


Rounded = Callable[[Any], Any]

#: Operations whose every number is rounded on the way.
ROUNDED: dict[str, Callable[..., Any]] = {
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "grn_strength": _grn_strength,
    "grn_relative": _grn_relative,
    "grn_apply": _grn_apply,
    "depthwise_conv2d": _depthwise,
}


def _with_bits(
    place: Place, rounded: Callable[[np.ndarray], np.ndarray], of_inputs: bool, of_params: bool, of_result: bool
) -> Callable[..., Any]:
    """Return the step with some of its numbers rounded."""

    def function(*inputs: Any, **arguments: Any) -> Any:
        given = [rounded(x) if of_inputs and x.dtype.kind == "f" else x for x in inputs]
        known = {
            name: rounded(value) if of_params and name in place.step.params and value.dtype.kind == "f" else value
            for name, value in arguments.items()
        }
        made = place.function(*given, **known)
        return rounded(made) if of_result else made

    return function
