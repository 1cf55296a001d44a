"""Activations in place, by one formula: ``x / (1 + exp(-x * Q(x**2)))`` with a polynomial Q.

Every activation of the GELU family has this form:

- quick GELU and SiLU: Q is a constant, 1.702 and 1;
- the tanh GELU: ``(1 + tanh(z)) / 2 = 1 / (1 + exp(-2 z))``, so Q is of degree 1, exactly;
- the exact GELU: ``x * Phi(x)``, with the normal distribution function Phi. Its logit ``log(Phi / (1 - Phi))`` is an
  odd function of x, so ``Q(t) = logit(Phi(x)) / x`` with ``t = x**2`` is smooth, and a polynomial of degree 6 meets
  it.

The polynomial was fitted so that the largest error of the *activation* is as small as can be: an error dQ of Q
changes ``x * Phi(x)`` by ``x**2 * Phi(x) * Phi(-x) * dQ``, a weight that vanishes beyond x = 6. The fit is a linear
program (``tests/fast/test_fast_activations.py`` solves it again). Largest error 6.7e-8 in exact arithmetic;
2.2e-7 in float32, relative to max(1, abs(x)).

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

from npconv.errors import ConfigError
from npconv.fast.scratch import Scratch
from npconv.layers import ACTIVATIONS, activation, gelu, gelu_tanh, quick_gelu, silu

#: Coefficients of Q, lowest degree first, by the layer they stand for.
POLYNOMIALS: dict[Callable[[Any], Any], tuple[float, ...]] = {
    gelu: (1.59576843, 7.26685671e-2, -6.62600329e-5, -1.10480304e-4, 7.93821717e-6, -2.66892711e-7, 3.61123042e-9),
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
