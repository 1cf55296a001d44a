"""Activations in place, by one formula: ``x / (1 + exp(-x * Q(x**2)))`` with a polynomial Q.

Every activation of the GELU family has this form:

- quick GELU and SiLU: Q is a constant, 1.702 and 1;
- the tanh GELU: ``(1 + tanh(z)) / 2 = 1 / (1 + exp(-2 z))``, so Q is of degree 1, exactly;
- the exact GELU: ``x * Phi(x)``, with the normal distribution function Phi. Its logit ``log(Phi / (1 - Phi))`` is an
  odd function of x, so ``Q(t) = logit(Phi(x)) / x`` with ``t = x**2`` is smooth, and a polynomial of degree 6 meets
  it.

The polynomial was fitted so that the largest error of the *activation* is as small as can be: an error dQ of Q
changes ``x * Phi(x)`` by ``x**2 * Phi(x) * Phi(-x) * dQ``, a weight that vanishes beyond x = 6. The fit is a linear
program (``tests/fast/test_activations.py`` solves it again). Largest error 3.9e-8 in exact arithmetic; below 1e-6 in
float32.

Two things make it fast. The polynomial is *monic*: with y = s * x and a suitable s, the exponent is ``y * P(y**2)``
with leading coefficient 1, which saves a multiplication; s is folded into the weights before and after. And it works
on rows that fit into the second-level cache.

One thing keeps it fast: the exponent is clamped to +-100. Outside about +-126 ``exp2`` leaves its vector code and
becomes 50 times slower, which random weights never show and trained ones do. Nothing is lost: 1 + 2**-100 is 1, and
x / 2**100 is nothing beside the values around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npconv.fast.scratch import Scratch
from npconv.layers import activation, gelu, gelu_tanh, quick_gelu, silu

#: Coefficients of Q, lowest degree first, by the layer they stand for.
POLYNOMIALS: dict[Callable[[Any], Any], tuple[float, ...]] = {
    gelu: (1.59576887, 7.26679682e-2, -6.60829712e-5, -1.10522722e-4, 7.94428464e-6, -2.67079802e-7, 3.60121359e-9),
    gelu_tanh: (math.sqrt(8.0 / math.pi), math.sqrt(8.0 / math.pi) * 0.044715),
    quick_gelu: (1.702,),
    silu: (1.0,),
}

#: Elements that are worked on at a time: three arrays of this size stay in a second-level cache of 1 MB.
CHUNK = 65536

#: Largest exponent of two.
LIMIT = np.float32(100)


class FoldedActivation:
    """An activation that works in place on scaled values: ``y = s * x`` becomes ``s * activation(x)``.

    Attributes
    ----------
    scale : float
        s. The weights before are multiplied by it, those after divided. 1 for an activation that has no polynomial
        here, such as mish or a user's own: the explicit layer does it.
    """

    def __init__(self, hidden_act: str | Callable[[Any], Any]) -> None:
        self.layer = activation(hidden_act)
        polynomial = POLYNOMIALS.get(self.layer)
        self.scale = 1.0
        self.coefficients: list[np.float32] | None = None
        if polynomial is not None:
            self.scale, self.coefficients = make_monic(polynomial)

    def apply(self, y: np.ndarray, scratch: Scratch) -> None:
        """Replace the values of a matrix (rows, columns), some rows at a time."""
        rows = max(1, CHUNK // y.shape[1])
        for first in range(0, len(y), rows):
            part = y[first : first + rows]
            if self.coefficients is None:
                part[...] = self.layer(part)
            else:
                logistic_(
                    part,
                    self.coefficients,
                    scratch.array("square", *part.shape),
                    scratch.array("exponent", *part.shape),
                )


def make_monic(polynomial: tuple[float, ...]) -> tuple[float, list[np.float32]]:
    """Return s and the coefficients of P, highest degree first, so that ``-log2(e) * x * Q(x**2) = y * P(y**2)``.

    P has leading coefficient 1, which is left out. The degree-0 case gives no coefficients: the exponent is y itself.
    """
    degree = len(polynomial) - 1
    exponents = [-math.log2(math.e) * c for c in polynomial]
    scale = -((-exponents[-1]) ** (1.0 / (2 * degree + 1)))
    monic = [c / scale ** (2 * power + 1) for power, c in enumerate(exponents)]
    return scale, [np.float32(c) for c in reversed(monic[:-1])]


def logistic_(y: np.ndarray, coefficients: list[np.float32], square: np.ndarray, exponent: np.ndarray) -> None:
    """Replace y by ``y / (1 + 2**(y * P(y**2)))``; `square` and `exponent` are scratch arrays of its shape."""
    if coefficients:
        np.multiply(y, y, out=square)
        np.add(square, coefficients[0], out=exponent)
        for coefficient in coefficients[1:]:
            exponent *= square
            exponent += coefficient
        exponent *= y
    else:
        np.copyto(exponent, y)
    np.minimum(exponent, LIMIT, out=exponent)
    np.maximum(exponent, -LIMIT, out=exponent)
    np.exp2(exponent, out=exponent)
    exponent += np.float32(1)
    y /= exponent
