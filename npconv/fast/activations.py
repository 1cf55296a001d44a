"""Activations in place, by one formula: ``x * (1 + tanh(x * Q(x**2))) / 2`` with a polynomial Q.

Every activation of the GELU family has this form:

- the tanh GELU: Q is of degree 1, exactly;
- quick GELU and SiLU: ``1 / (1 + exp(-c x)) = (1 + tanh(c x / 2)) / 2``, so Q is a constant, 0.851 and 0.5;
- the exact GELU: ``x * Phi(x)``, with the normal distribution function Phi. Its logit ``log(Phi / (1 - Phi))`` is an
  odd function of x, so ``Q(t) = logit(Phi(x)) / (2 x)`` with ``t = x**2`` is smooth, and a polynomial of degree 6 meets
  it.

The polynomial was fitted so that the largest error of the *activation* is as small as can be: an error dQ of Q
changes ``x * Phi(x)`` by ``2 * x**2 * Phi(x) * Phi(-x) * dQ``, a weight that vanishes beyond x = 6. The fit is a linear
program (``tests/fast/test_fast_activations.py`` solves it again). Largest error 6.7e-8 in exact arithmetic;
2e-7 in float32, relative to max(1, abs(x)).

Two things make it fast. The polynomial is *monic*: with y = s * x and a suitable s, the argument is ``y * P(y**2)``
with leading coefficient 1, which saves a multiplication; s is folded into the weights before and after, and so is the
half. And it works on rows that fit into the second-level cache.

``tanh`` rather than ``exp`` or ``exp2``: it saturates by itself, at no cost. ``exp2`` leaves its vector code outside
about +-126 and becomes 50 times slower, which random weights never show and trained ones do; clamping the exponent
first is two more passes over the values, and the logistic function ends with a division. Five passes become three:
1.6 ns instead of 2.1 for each value (Xeon, Sapphire Rapids). Far to the left, what should be 0 may be 3e-8 * abs(x).
A quotient of polynomials, degrees 3 and 2, would save four passes but has two divisions: 1.5 ns, and twice the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npconv.errors import ConfigError
from npconv.fast.products import spans
from npconv.fast.scratch import Scratch
from npconv.layers import ACTIVATIONS, activation, gelu, gelu_tanh, quick_gelu, silu

#: Coefficients of Q, lowest degree first, by the layer they stand for.
POLYNOMIALS: dict[Callable[[Any], Any], tuple[float, ...]] = {
    gelu: (0.797884215, 3.63342836e-2, -3.31300165e-5, -5.5240152e-5, 3.96910859e-6, -1.33446356e-7, 1.80561521e-9),
    gelu_tanh: (math.sqrt(2.0 / math.pi), math.sqrt(2.0 / math.pi) * 0.044715),
    quick_gelu: (0.851,),
    silu: (0.5,),
}

#: Elements that are worked on at a time, half a tile of the bottleneck: three arrays of this size are 960 kB.
CHUNK = 80_000


class FoldedActivation:
    """An activation that works in place on scaled values: ``y = before * x`` becomes ``after * activation(x)``.

    Attributes
    ----------
    before, after : float
        The weights before are multiplied by the one, those after divided by the other. 1 for an activation that has no
        polynomial here, such as mish or a user's own: the explicit layer does it.

    Raises
    ------
    ConfigError
        If a user's own function is not one of each element by itself: it sees parts of a map here.
    """

    def __init__(self, hidden_act: str | Callable[[Any], Any]) -> None:
        self.layer = activation(hidden_act)
        if self.layer not in ACTIVATIONS.values():
            check_elementwise(self.layer)
        polynomial = POLYNOMIALS.get(self.layer)
        self.before = self.after = 1.0
        self.coefficients: list[np.float32] | None = None
        if polynomial is not None:
            self.before, self.coefficients = make_monic(polynomial)
            self.after = 2 * self.before

    def apply(self, y: np.ndarray, scratch: Scratch) -> None:
        """Replace the values of a matrix (rows, columns), some rows at a time."""
        for first, end in spans(len(y), CHUNK // max(1, y.shape[1])):
            part = y[first:end]
            if self.coefficients is None:
                part[...] = self.layer(part)
            else:
                square, argument = scratch.array("square", *part.shape), scratch.array("argument", *part.shape)
                sigmoid_weighted_(part, self.coefficients, square, argument)


def check_elementwise(layer: Callable[[Any], Any]) -> None:
    """Refuse a function that makes something else of a map than of its elements one by one."""
    values = np.linspace(-3, 3, 24, dtype=np.float32)
    with np.errstate(all="ignore"):  # it may be undefined at some of them
        of_map = np.asarray(layer(values.reshape(1, 4, 2, 3)))
        of_elements = np.array([np.asarray(layer(value.reshape(1, 1))).item() for value in values])
    alike = of_map.size == 24 and np.allclose(of_map.ravel(), of_elements, rtol=1e-4, atol=1e-6, equal_nan=True)
    if not alike:
        raise ConfigError(
            "engine 'fast' expects hidden_act to be a function of each element by itself, got one that looks at others "
            "as well; use engine='explicit'"
        )


def make_monic(polynomial: tuple[float, ...]) -> tuple[float, list[np.float32]]:
    """Return s and the coefficients of P, highest degree first, so that ``x * Q(x**2) = y * P(y**2)`` with y = s * x.

    P has leading coefficient 1, which is left out. The degree-0 case gives no coefficients: the argument is y itself.
    """
    degree = len(polynomial) - 1
    scale = polynomial[-1] ** (1.0 / (2 * degree + 1))
    monic = [c / scale ** (2 * power + 1) for power, c in enumerate(polynomial)]
    return scale, [np.float32(c) for c in reversed(monic[:-1])]


def sigmoid_weighted_(y: np.ndarray, coefficients: list[np.float32], square: np.ndarray, argument: np.ndarray) -> None:
    """Replace y by ``y * (1 + tanh(y * P(y**2)))``; `square` and `argument` are scratch arrays of its shape."""
    if coefficients:
        np.multiply(y, y, out=square)
        np.add(square, coefficients[0], out=argument)
        for coefficient in coefficients[1:]:
            argument *= square
            argument += coefficient
        argument *= y
    else:
        np.copyto(argument, y)
    np.tanh(argument, out=argument)
    argument += np.float32(1)
    y *= argument
