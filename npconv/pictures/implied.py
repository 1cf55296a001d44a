"""The weight that a linear step must have had, to make of what it took what it gave: by least squares.

A kernel that is flipped, transposed or shifted, a matrix that is transposed, a bias that is missing: of the result they
leave no trace that an eye can read, but the weight that fits shows them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from npconv.plan.run import run_step
from npconv.plan.step import Step

#: Channels of a depthwise convolution that are shown, unknowns and equations that are solved for at most.
MOST_KERNELS, MOST_UNKNOWN, MOST_EQUATIONS = 6, 800, 20_000

#: What varies less in the input than a share of what varies most (after a LayerNorm one sum does not at all) leaves the
#: weight open, which may be so for a few such sums; and by how much a change of the bias is preferred there.
OPEN, MOST_OPEN, PREFERRED = 1e-5, 2, 10.0

#: Samples whose shares in the gradient of a parameter are looked for.
MOST_SAMPLES = 16

#: Tokens whose attention scores, and whose results of attention, tell which channels a head takes.
MOST_TOKENS, MOST_ROWS = 64, 1024


def implied_weight(
    step: Step,
    source: np.ndarray,
    result: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    channels: Sequence[int],
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the weight and the bias that a step must have had.

    Parameters
    ----------
    step : Step
    source, result : ndarray
        What it took, or of a backward step the gradient of its result; and what it gave.
    weight, bias : ndarray
        Those of the checkpoint. What the input leaves open is taken from them, or on the way back for 0.
    channels : sequence of int
        Of a depthwise convolution, the channels whose kernels are wanted.

    Returns
    -------
    (weight, bias), or None
        A matrix (out, in), with the positions of a kernel among the inputs; kernels (K, kh, kw) of a depthwise
        convolution. None if the step is not linear, or there are too few positions to tell its weight.
    """
    way = step.operation.removesuffix("_backward")
    is_back = way != step.operation
    if is_back and step.attributes.get("wrt") != "x":
        return None
    if way in ("pointwise_conv2d", "linear"):
        axis = 1 if way == "pointwise_conv2d" else -1
        rows, wanted = (np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis]) for array in (source, result))
        solved = _solved(rows, wanted, None if is_back else _known(weight, bias))
        return None if solved is None else (solved[:-1].T, solved[-1])
    windows = _windows(step, source, weight.shape[-2:]) if way in ("depthwise_conv2d", "conv2d") else None
    if windows is None or windows.shape[2:4] != result.shape[2:] or (is_back and way == "conv2d"):
        return None
    known = None if is_back else _known(weight, bias)
    if way == "depthwise_conv2d":
        return _depthwise(windows, result, known, channels)
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, weight[0].size)
    solved = _solved(rows, np.moveaxis(result, 1, -1).reshape(-1, result.shape[1]), known)
    return None if solved is None else (solved[:-1].T, solved[-1])


def _windows(step: Step, source: np.ndarray, kernel: tuple[int, ...]) -> np.ndarray | None:
    """Return what a kernel saw at each position, (N, C, H, W, kh, kw); None where that is not known."""
    is_back = step.operation.endswith("_backward")
    stride, padding = step.attributes["stride"], step.attributes["padding"]
    if not isinstance(stride, int) or not isinstance(padding, int):
        return None
    edges = [length - 1 - padding if is_back else padding for length in kernel]
    if step.attributes.get("dilation", 1) != 1 or source.ndim != 4 or min(edges) < 0 or (is_back and stride != 1):
        return None
    padded = np.pad(source, ((0, 0), (0, 0), *((edge, edge) for edge in edges)))
    if any(length < size for length, size in zip(padded.shape[2:], kernel, strict=True)):
        return None
    return sliding_window_view(padded, kernel, (2, 3))[:, :, ::stride, ::stride]


def _known(weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """Return the unknowns as a checkpoint has them, (in + 1, out)."""
    matrix = np.asarray(weight, np.float64).reshape(len(weight), -1)
    return np.concatenate([matrix.T, (np.zeros(len(weight)) if bias is None else np.asarray(bias, np.float64))[None]])


def _depthwise(
    windows: np.ndarray, result: np.ndarray, known: np.ndarray | None, channels: Sequence[int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Solve for the kernels of some channels."""
    kernels, biases = [], []
    for channel in channels:
        rows = windows[:, channel].reshape(-1, windows.shape[-2] * windows.shape[-1])
        start = None if known is None else known[:, [channel]]
        solved = _solved(rows, result[:, channel].reshape(-1, 1), start)
        if solved is None:
            return None
        kernels.append(solved[:-1, 0].reshape(windows.shape[-2:]))
        biases.append(solved[-1, 0])
    return np.stack(kernels), np.array(biases)


def _solved(rows: np.ndarray, wanted: np.ndarray, known: np.ndarray | None = None) -> np.ndarray | None:
    """Return what makes the wanted numbers of rows, the last number for a one beside them; None if that is not known.

    Where the rows leave it open, it is the nearest to what is `known`, with changes of the last number preferred.
    """
    few = -(-len(rows) // MOST_EQUATIONS)
    rows, wanted = np.asarray(rows[::few], np.float64), np.asarray(wanted[::few], np.float64)
    unknown = rows.shape[1] + 1
    if len(rows) != len(wanted) or len(rows) < unknown or unknown > MOST_UNKNOWN:
        return None
    if not (np.isfinite(rows).all() and np.isfinite(wanted).all()):
        return None
    beside = np.column_stack([rows, np.ones(len(rows))])
    start = np.zeros((unknown, wanted.shape[1])) if known is None else known
    if start.shape != (unknown, wanted.shape[1]):
        return None
    scale = np.append(np.ones(unknown - 1), PREFERRED)
    found, _, rank, _ = np.linalg.lstsq(beside * scale, wanted - beside @ start, rcond=OPEN)
    return start + scale[:, None] * found if rank >= unknown - MOST_OPEN else None


def implied_heads(queries: np.ndarray, keys: np.ndarray, scores: np.ndarray) -> np.ndarray | None:
    """Return by what factor each head must have taken each channel of queries and keys, to have such scores.

    Parameters
    ----------
    queries, keys, scores : ndarray (N, T, D), (N, S, D), (N, h, T, S)

    Returns
    -------
    ndarray (h, D), or None
        The attention scale for the channels of a head, and 0 for others.
    """
    if queries.ndim != 3 or scores.ndim != 4 or queries.shape[-1] != keys.shape[-1] or queries.shape[-1] > MOST_UNKNOWN:
        return None
    tokens = np.unique(np.linspace(0, queries.shape[1] - 1, MOST_TOKENS).astype(int))
    others = np.unique(np.linspace(0, keys.shape[1] - 1, MOST_TOKENS).astype(int))
    rows = np.einsum("ntd,nsd->ntsd", queries[:, tokens], keys[:, others]).reshape(-1, queries.shape[-1])
    wanted = np.moveaxis(scores[:, :, tokens][..., others], 1, -1).reshape(-1, scores.shape[1])
    solved = _solved(rows, wanted)
    return None if solved is None else solved[:-1].T


def implied_context(probabilities: np.ndarray, values: np.ndarray, context: np.ndarray) -> np.ndarray | None:
    """Return how often each channel of the result holds each channel of the values, mixed by each head.

    Parameters
    ----------
    probabilities, values, context : ndarray (N, h, T, S), (N, S, D), (N, T, D)

    Returns
    -------
    ndarray (D, h, D), or None
        By channel of the result, head, and channel of the values: 1 at that channel of its head, and 0 elsewhere.
    """
    if probabilities.ndim != 4 or values.ndim != 3 or context.ndim != 3:
        return None
    heads, channels = probabilities.shape[1], values.shape[-1]
    if heads * channels > MOST_UNKNOWN:
        return None
    few = -(-context.shape[1] // MOST_ROWS)
    mixed = np.einsum("nhts,nsd->nthd", probabilities[:, :, ::few], values)
    solved = _solved(mixed.reshape(-1, heads * channels), context[:, ::few].reshape(-1, context.shape[-1]))
    return None if solved is None else solved[:-1].T.reshape(-1, heads, channels)


def implied_shares(terms: Sequence[np.ndarray], result: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Return how often each of some arrays must have been counted in a sum, and what that leaves of its largest value.

    None if the arrays do not tell.
    """
    rows = np.stack([np.asarray(term, np.float64).reshape(-1) for term in terms], axis=1)
    wanted = np.asarray(result, np.float64).reshape(-1)
    if (
        len(rows) != len(wanted)
        or len(rows) < rows.shape[1]
        or not (np.isfinite(rows).all() and np.isfinite(wanted).all())
    ):
        return None
    found, _, rank, _ = np.linalg.lstsq(rows, wanted, rcond=None)
    if rank < rows.shape[1]:
        return None
    return found, float(np.abs(rows @ found - wanted).max() / max(np.abs(wanted).max(), 1e-300))


def terms_of(
    step: Step, inputs: Sequence[np.ndarray], weights: Mapping[str, np.ndarray]
) -> tuple[list[np.ndarray], str]:
    """Return what a step's result is a sum of, and what each of it is: ``"input"``, or ``"sample"``; else nothing.

    A residual is the sum of its inputs, the gradient of a parameter that of the gradients of each sample.
    """
    if step.operation in ("residual", "sum_gradients"):
        return list(inputs), "input"
    samples = {len(array) for array in inputs if array.ndim > 1}
    of_parameter = step.operation.endswith("_backward") and not step.layout and len(samples) == 1
    if not of_parameter or not 1 < max(samples) <= MOST_SAMPLES:
        return [], ""
    with np.errstate(all="ignore"):
        made = [
            run_step(step, [array[n : n + 1] if array.ndim > 1 else array for array in inputs], weights)
            for n in range(max(samples))
        ]
    return made, "sample"
