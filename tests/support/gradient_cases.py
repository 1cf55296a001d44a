"""The call of a backward function that belongs to the call of a layer, and its gradients by central differences.

With f the sum of ``grad_y * y``, the gradient along a direction v is ``(f(x + h * v) - f(x - h * v)) / (2 * h)``, up to

- the truncation: ``c * h**2``, with c a sixth of the third derivative. Twice the step makes four times of it, so the
  difference between the two results is three times the truncation of the smaller step;
- the rounding: f is off by at most :data:`OPERATIONS` units of ``sum(abs(grad_y)) * max(abs(y), 1)``, which is divided
  by h.

The steps are powers of two and the numbers odd multiples of 2**-7, so that the sums x + h * v are exact, and no number
stands at a bend (of relu at 0, of hardswish at 3) or so near that a step passes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume

from npconv import gradients, layers
from support import naive_layers as naive
from support.layer_cases import CASES as LAYER_CASES
from support.layer_cases import Case
from support.rounding import UNIT_ROUNDOFF

#: The smaller step, about the fourth root of the unit roundoff: both errors are near 1e-9 then.
STEP = 2.0**-14

#: Roundings of 1.1e-16 that a sum over all numbers of a result may be off by, in units of their sizes.
OPERATIONS = 256

#: How large a tolerance may be, by the sum of sizes of the upstream gradient; a function that bends more is not tried.
TIGHT = 1e-4

#: What of ``npconv.layers`` has no backward function, and why.
WITHOUT_GRADIENT = {
    "drop": "what drop_path and dropout do with a mask: their backward functions do the same",
    "drop_path_mask": "random numbers",
    "dropout_mask": "random numbers",
    "num_batches_tracked": "a count",
    "running_mean": "a statistic that is stored, and no part of the loss",
    "running_var": "a statistic that is stored, and no part of the loss",
}


@dataclass(frozen=True)
class Backward:
    """A call of a backward function: `arrays` are its arguments in float64 (or integers), ``grad_y`` first."""

    layer: Case
    function: Callable[..., Any]
    arrays: dict[str, np.ndarray]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """What the layer's case is called."""
        return self.layer.name

    @property
    def gives(self) -> tuple[str, ...]:
        """The arguments of the layer that the function returns the gradients of, if the case has them."""
        return tuple(name for name in self.function.gives if name in self.layer.arrays)

    def arrays_as(self, dtype: str) -> dict[str, np.ndarray]:
        """Return the arrays in `dtype`; integers stay."""
        return {key: a if a.dtype.kind in "iu" else a.astype(dtype) for key, a in self.arrays.items()}

    def run(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """Return the gradient of each argument by its name; a bias that the layer was not given has one too."""
        found = self.function(**arrays, **self.options)
        return dict(zip(self.function.gives, found if len(self.function.gives) > 1 else (found,), strict=True))


def backward_of(case: Case, seed: int = 0) -> Backward:
    """Return the call of the backward function that belongs to a call of a layer."""
    function = getattr(gradients, f"{case.function.__name__}_backward")
    y = np.asarray(case.run(case.arrays))
    known = {"y": y, **case.arrays, "grad_y": np.asarray(np.random.default_rng([seed, *y.shape]).normal(0, 1, y.shape))}
    if case.seed is not None:
        known["mask"] = mask_of(case)
    taken = list(inspect.signature(function).parameters)
    shapes = {f"{name}_shape": array.shape for name, array in case.arrays.items()}
    return Backward(
        case,
        function,
        {name: known[name] for name in taken if name in known},
        {name: value for name, value in {**case.options, **shapes}.items() if name in taken},
    )


def mask_of(case: Case) -> np.ndarray:
    """Return the mask that a layer draws."""
    rng = np.random.default_rng(case.seed)
    if case.function is not layers.attention:
        return getattr(layers, f"{case.function.__name__}_mask")(**case.arrays, rate=case.options["rate"], rng=rng)
    query, key = case.arrays["query"], case.arrays["key"]
    scores = layers.attention_scores(query, key, num_heads=case.options["num_heads"], scale=case.options["scale"])
    return layers.dropout_mask(scores, rate=case.options["dropout_rate"], rng=rng)


#: A call of every backward function, or a few.
CASES = [backward_of(case) for case in LAYER_CASES if case.function.__name__ not in WITHOUT_GRADIENT]


def numbers(seed: int, *shape: int) -> np.ndarray:
    """Return random numbers of about the size of 1, odd multiples of 2**-7."""
    drawn = np.random.default_rng([seed, *shape]).normal(0, 1, shape)
    return (2 * np.floor(drawn * 64) + 1) / 128


def assert_is_gradient(case: Case, seed: int = 0) -> None:
    """Assert that a backward function gives what differences of the layer give, and those of its naive twin."""
    backward = backward_of(case, seed)
    found = backward.run(backward.arrays)
    assert backward.gives
    for function in (case.function, getattr(naive, case.function.__name__)):
        for name in backward.gives:
            assert found[name].shape == case.arrays[name].shape
            assert found[name].dtype == np.float64
            for direction in directions(seed, case.arrays[name].shape):
                slope, tolerance = slope_along(case, function, backward.arrays["grad_y"], name, direction)
                assert abs((found[name] * direction).sum() - slope) <= tolerance, (name, function.__module__)


def directions(seed: int, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return one direction along all elements, forwards or back by chance, and three along a single one."""
    rng = np.random.default_rng([seed, *shape])
    along_all = rng.choice([-1.0, 1.0], shape)
    single = []
    for _ in range(3 if along_all.size else 0):
        one = np.zeros(shape)
        one.flat[rng.integers(one.size)] = 1
        single.append(one)
    return [np.asarray(along_all), *single]


def slope_along(
    case: Case, function: Callable[..., Any], grad_y: np.ndarray, name: str, direction: np.ndarray
) -> tuple[float, float]:
    """Return the gradient of an argument along a direction, by central differences, and how far off it may be."""
    largest = 1.0

    def f(step: float) -> float:
        nonlocal largest
        y = np.asarray(case.run({**case.arrays, name: case.arrays[name] + step * direction}, function))
        largest = max(largest, float(np.abs(y).max(initial=0)))
        return float((grad_y * y).sum())

    near, far = ((f(step) - f(-step)) / (2 * step) for step in (STEP, 2 * STEP))
    size = float(np.abs(grad_y).sum())
    rounding = OPERATIONS * UNIT_ROUNDOFF[np.dtype("float64")] * size * largest / STEP
    tolerance = abs(far - near) + rounding
    assume(tolerance <= TIGHT * size)
    return near, tolerance
