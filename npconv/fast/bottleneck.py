"""The inverted bottleneck of a ConvNeXt block, a tile of positions at a time.

LayerNorm, 1x1 convolution to 4C channels, activation, 1x1 convolution back: done layer by layer, the 4C hidden values
of all positions are written to memory and read again several times, and they are the largest array of the model. Done
for a tile of positions from end to end, they never leave the second-level cache.

What does not depend on the input is folded into the two matrices when the model is loaded, in float64: the
LayerNorm's weight and bias, the layer scale (V1), GRN's bias (V2), the scale of the activation. The first product's
bias is one more column of its matrix, over a row of ones.

Activations work in place, by one formula: ``x * (1 + tanh(x * Q(x**2))) / 2`` with a polynomial Q. Every activation of
the GELU family has this form:

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
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npconv.errors import ConfigError
from npconv.fast.engine import Scratch, shares, small_shares, spans
from npconv.fast.products import as_column, fold_linear, multiply, normalize_channels
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

    The weights before it are multiplied by `before`, those after it divided by `after`. Both are 1 for an activation
    that has no polynomial here, such as mish or a user's own: the explicit layer does it. A user's function that is not
    one of each element by itself is a `ConfigError`: it sees parts of a map here.
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


#: Hidden values of a tile: 640 kB. On a Xeon (Sapphire Rapids) with 2 MB of second-level cache a core, anything from
#: 80_000 to 320_000 does for one thread, and twice 80_000 takes 7 to 10 % off the time of two: fewer calls are fewer
#: moments at which threads wait for the interpreter. On an EPYC with 1 MB, 80_000 was the best.
TILE_VALUES = 160_000

#: So many positions are never cut. Narrow tiles make the products inefficient: 120 GFLOP/s for the halves of a 14 x 14
#: map with its class token, 155 for the whole (Xeon).
LEAST_TILE = 256


def fold_bottleneck(
    *,
    layernorm: Mapping[str, Any],
    pwconv1: Mapping[str, Any],
    pwconv2: Mapping[str, Any],
    grn: Mapping[str, Any] | None = None,
    layer_scale_parameter: Any = None,
    hidden_act: Any,
) -> dict[str, np.ndarray]:
    """Return the arrays of a :class:`Bottleneck`, given the parameters of a block: `grn` of V2, a layer scale of V1."""
    hidden, channels = pwconv1["weight"].shape
    activation = FoldedActivation(hidden_act)
    before, after = (np.full(hidden, scale) for scale in (activation.before, activation.after))
    weight1 = np.empty((hidden, channels + 1), np.float32)
    weight1[:, channels] = fold_linear(
        pwconv1,
        weight1[:, :channels],
        columns=layernorm["weight"],
        shift=layernorm.get("bias", np.zeros(channels)),
        rows=before,
    )
    weight2 = np.empty((channels, hidden), np.float32)
    bias2 = fold_linear(
        pwconv2,
        weight2,
        columns=1 / after,
        shift=np.zeros(hidden) if grn is None else grn["bias"],
        rows=np.ones(channels) if layer_scale_parameter is None else layer_scale_parameter,
    )
    folded = {"weight1": weight1, "weight2": weight2, "bias2": as_column(bias2)}
    return folded if grn is None else {**folded, "grn_weight": as_column(grn["weight"])}


class Bottleneck:
    """The pointwise part of a block: ``x + W2 @ [grn](activation(W1 @ layer_norm(d) + b1)) + b2``.

    W1 is (4C, C + 1), its last column the bias; W2 is (C, 4C) and b2 (C, 1); V2's GRN weight is (4C, 1).
    """

    def __init__(
        self,
        *,
        weight1: np.ndarray,
        weight2: np.ndarray,
        bias2: np.ndarray,
        grn_weight: np.ndarray | None = None,
        hidden_act: Any,
        norm_eps: float,
        norm_type: str = "layer_norm",
        grn_eps: float = 0.0,
    ) -> None:
        self.activation = FoldedActivation(hidden_act)
        self.norm_eps, self.norm_type, self.grn_eps = norm_eps, norm_type, grn_eps
        self.weight1, self.weight2, self.bias2, self.grn_weight = weight1, weight2, bias2, grn_weight

    def __call__(self, x: np.ndarray, d: np.ndarray, scratch: Scratch) -> None:
        """Add the branch to the residual x; both x and the depthwise convolution's result d are (C, N, P)."""
        if self.grn_weight is None:
            flat_x, flat_d = x.reshape(len(x), -1), d.reshape(len(x), -1)

            def add_tile(tile: tuple[int, int], scratch: Scratch) -> None:
                positions = slice(*tile)
                self._whole_tile(flat_x[:, positions], flat_d[:, positions], scratch)

            tiles = spans(flat_x.shape[1], self._tile(), scratch.threads)
            if len(tiles) == 1:
                self._whole_tile(flat_x, flat_d, scratch)
            else:
                scratch.map(add_tile, tiles)
        elif x.shape[2] <= self._tile():
            together = max(1, self._tile() // x.shape[2])
            for first in range(0, x.shape[1], together):
                self._whole_pictures(x[:, first : first + together], d[:, first : first + together], scratch)
        else:
            for n in range(x.shape[1]):
                self._picture_in_tiles(x[:, n], d[:, n], scratch)

    def _tile(self) -> int:
        """Return the positions of a tile."""
        return max(LEAST_TILE, TILE_VALUES // len(self.weight1))

    def _whole_pictures(self, x: np.ndarray, d: np.ndarray, scratch: Scratch) -> None:
        """Do some whole pictures (C, n, P) at once: GRN takes its statistics of each, and scales its hidden values."""
        channels, batch, positions = x.shape
        squares = scratch.array("squares", len(self.weight1), batch)
        hidden = self._hidden(d.reshape(channels, batch * positions), squares, scratch, "hidden")
        by_picture = hidden.reshape(len(hidden), batch, positions)
        factor = self._grn_factor(squares)[:, :, None]

        def scale(rows: tuple[int, int], scratch: Scratch) -> None:
            by_picture[slice(*rows)] *= factor[slice(*rows)]

        scratch.map(scale, small_shares(len(hidden), scratch))
        self._add(x, self.weight2, hidden, scratch)

    def _picture_in_tiles(self, x: np.ndarray, d: np.ndarray, scratch: Scratch) -> None:
        """Do one picture (C, P) in two passes: GRN needs the hidden values of all tiles before it can scale any.

        The tiles are kept; the second pass scales the matrix, which is smaller than they are.
        """
        tiles = spans(x.shape[1], self._tile(), scratch.threads)
        squares = scratch.array("squares of tiles", len(tiles), len(self.weight1), 1)

        def hide(number: int, scratch: Scratch) -> tuple[tuple[int, int], np.ndarray]:
            tile = tiles[number]
            return tile, self._hidden(d[:, slice(*tile)], squares[number], scratch, f"hidden {tile}")

        kept = scratch.map(hide, range(len(tiles)))
        factor = self._grn_factor(squares.sum(axis=0))[:, 0]
        weight2 = np.multiply(self.weight2, factor, out=scratch.private.array("scaled weight", *self.weight2.shape))

        def add(part: tuple[tuple[int, int], np.ndarray], scratch: Scratch) -> None:
            tile, hidden = part
            self._add(x[:, slice(*tile)], weight2, hidden, scratch)

        scratch.map(add, kept)

    def _whole_tile(self, x: np.ndarray, d: np.ndarray, scratch: Scratch) -> None:
        """Do a tile (C, p) from end to end; of a single one, each thread has some of the hidden channels."""
        normed = self._normed(d, scratch)
        parts = [(rows, scratch.array(f"branch {rows}", *x.shape)) for rows in shares(len(self.weight1), scratch)]

        def some_hidden(part: tuple[tuple[int, int], np.ndarray], scratch: Scratch) -> None:
            rows, branch = part
            hidden = scratch.array("hidden", rows[1] - rows[0], x.shape[1])
            self._hide(rows, normed, hidden, scratch)
            multiply(self.weight2[:, slice(*rows)], hidden, branch)

        def add(rows: tuple[int, int], scratch: Scratch) -> None:
            total, *others = [branch[slice(*rows)] for _, branch in parts]
            for other in others:
                total += other
            total += self.bias2[slice(*rows)]
            x[slice(*rows)] += total

        scratch.map(some_hidden, parts)
        scratch.map(add, small_shares(len(x), scratch))

    def _normed(self, d: np.ndarray, scratch: Scratch) -> np.ndarray:
        """Return a tile (C, p) of the depthwise result normalized, above a row of ones that meets the bias column."""
        channels, positions = d.shape
        scratch = scratch.private
        normed = scratch.array("normed", channels + 1, positions)
        square = scratch.array("square", channels, positions)
        normalize_channels(d, normed[:channels], square, self.norm_eps, self.norm_type)
        normed[channels] = 1
        return normed

    def _hide(self, rows: tuple[int, int], normed: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        """Store some rows of the activated hidden values of a tile in `out`."""
        multiply(self.weight1[slice(*rows)], normed, out)
        self.activation.apply(out, scratch)

    def _hidden(self, d: np.ndarray, squares: np.ndarray, scratch: Scratch, name: str) -> np.ndarray:
        """Return the activated hidden values (4C, p) of a tile (C, p) of the depthwise result.

        The sums of their squares over each of n pictures are stored in `squares` (4C, n).
        """
        normed = self._normed(d, scratch)
        hidden = scratch.array(name, len(self.weight1), d.shape[1])

        def some_rows(rows: tuple[int, int], scratch: Scratch) -> None:
            part = hidden[slice(*rows)]
            self._hide(rows, normed, part, scratch)
            by_picture = part.reshape(len(part), squares.shape[1], -1)
            np.vecdot(by_picture, by_picture, out=squares[slice(*rows)])

        scratch.map(some_rows, shares(len(hidden), scratch))
        return hidden

    def _add(self, x: np.ndarray, weight2: np.ndarray, hidden: np.ndarray, scratch: Scratch) -> None:
        """Add the second product and its bias to the residual tile x (C, p) or (C, n, p)."""

        def some_rows(rows: tuple[int, int], scratch: Scratch) -> None:
            part = x[slice(*rows)]
            branch = multiply(weight2[slice(*rows)], hidden, scratch.array("branch", len(part), hidden.shape[1]))
            branch += self.bias2[slice(*rows)]
            part += branch.reshape(part.shape)

        scratch.map(some_rows, shares(len(x), scratch))

    def _grn_factor(self, squares: np.ndarray) -> np.ndarray:
        """Return what GRN multiplies by, ``weight * strength / mean strength + 1``, for sums of squares (4C, n).

        The hidden values carry the activation's scale, and so do their strengths; eps is compared without it.
        """
        strength = np.sqrt(squares) * np.float32(1 / self.activation.after)
        relative = strength / (strength.mean(axis=0) + np.float32(self.grn_eps))
        assert self.grn_weight is not None
        return relative * self.grn_weight + np.float32(1)
