"""The inverted bottleneck of a ConvNeXt block, a tile of positions at a time.

LayerNorm, 1x1 convolution to 4C channels, activation, 1x1 convolution back: done layer by layer, the 4C hidden values
of all positions are written to memory and read again several times, and they are the largest array of the model. Done
for a tile of positions from end to end, they never leave the second-level cache.

What does not depend on the input is folded into the two matrices when the model is loaded, in float64: the
LayerNorm's weight and bias, the layer scale (V1), GRN's bias (V2), the scale of the activation. The first product's
bias is one more column of its matrix, over a row of ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from npconv.fast.activations import FoldedActivation
from npconv.fast.products import as_column, fold_linear, multiply, normalize_channels, shares, spans
from npconv.fast.scratch import Scratch

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
    """Return the arrays of a :class:`Bottleneck`.

    Parameters
    ----------
    layernorm, pwconv1, pwconv2 : mapping
        Parameters of the block.
    grn : mapping, optional
        Of V2.
    layer_scale_parameter : array (C,), optional
        Of V1.
    hidden_act : str or callable
    """
    hidden, channels = pwconv1["weight"].shape
    activation = FoldedActivation(hidden_act)
    before, after = (np.full(hidden, scale) for scale in (activation.before, activation.after))
    weight1 = np.empty((hidden, channels + 1), np.float32)
    weight1[:, channels] = fold_linear(
        pwconv1, weight1[:, :channels], columns=layernorm["weight"], shift=layernorm["bias"], rows=before
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

    Parameters
    ----------
    weight1 : array (4C, C + 1)
        Its last column is the bias.
    weight2 : array (C, 4C)
    bias2 : array (C, 1)
    grn_weight : array (4C, 1), optional
        Of V2.
    hidden_act : str or callable
    norm_eps, grn_eps : float
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
        grn_eps: float = 0.0,
    ) -> None:
        self.activation = FoldedActivation(hidden_act)
        self.norm_eps, self.grn_eps = norm_eps, grn_eps
        self.weight1, self.weight2, self.bias2, self.grn_weight = weight1, weight2, bias2, grn_weight

    def __call__(self, x: np.ndarray, d: np.ndarray, scratch: Scratch) -> None:
        """Add the branch to the residual x; both x and the depthwise convolution's result d are (C, N, P)."""
        if self.grn_weight is None:
            channels = len(x)
            flat_x, flat_d = x.reshape(channels, -1), d.reshape(channels, -1)

            def add_tile(tile: tuple[int, int], scratch: Scratch) -> None:
                positions = slice(*tile)
                hidden = self._hidden(flat_d[:, positions], scratch, "hidden")
                self._add(flat_x[:, positions], self.weight2, hidden, scratch)

            scratch.map(add_tile, spans(flat_x.shape[1], self._tile(), scratch.threads))
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
        hidden = self._hidden(d.reshape(channels, batch * positions), scratch, "hidden")
        by_picture = hidden.reshape(len(hidden), batch, positions)
        by_picture *= self._grn_factor(np.vecdot(by_picture, by_picture))[:, :, None]
        self._add(x, self.weight2, hidden, scratch)

    def _picture_in_tiles(self, x: np.ndarray, d: np.ndarray, scratch: Scratch) -> None:
        """Do one picture (C, P) in two passes: GRN needs the hidden values of all tiles before it can scale any.

        The tiles are kept; the second pass scales the matrix, which is smaller than they are.
        """

        def hide(tile: tuple[int, int], scratch: Scratch) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
            hidden = self._hidden(d[:, slice(*tile)], scratch, f"hidden {tile}")
            return tile, hidden, np.vecdot(hidden, hidden)

        kept = scratch.map(hide, spans(x.shape[1], self._tile(), scratch.threads))
        squares = sum(squares for _, _, squares in kept)
        factor = self._grn_factor(squares[:, None])[:, 0]
        weight2 = np.multiply(self.weight2, factor, out=scratch.array("scaled weight", *self.weight2.shape))

        def add(part: tuple[tuple[int, int], np.ndarray, np.ndarray], scratch: Scratch) -> None:
            tile, hidden, _ = part
            self._add(x[:, slice(*tile)], weight2, hidden, scratch)

        scratch.map(add, kept)

    def _hidden(self, d: np.ndarray, scratch: Scratch, name: str) -> np.ndarray:
        """Return the activated hidden values (4C, p) of a tile (C, p) of the depthwise result."""
        channels, positions = d.shape
        normed = scratch.array("normed", channels + 1, positions)
        normalize_channels(d, normed[:channels], scratch.array("square", channels, positions), self.norm_eps)
        normed[channels] = 1  # meets the bias column
        hidden = scratch.array(name, len(self.weight1), positions)

        def some_rows(rows: tuple[int, int], scratch: Scratch) -> None:
            part = hidden[slice(*rows)]
            multiply(self.weight1[slice(*rows)], normed, part)
            self.activation.apply(part, scratch)

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
