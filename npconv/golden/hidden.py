"""What a trace hides: weights and pictures with which a mistake changes no number.

A branch that GRN or a layer scale all but turns off, a norm that has no effect, a bias of 0, a picture of one colour:
there a port may be wrong, and its numbers right. Trained weights and a photo hide little; first values hide most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from npconv.golden.preprocessing import DECODED
from npconv.golden.trace_file import PIXELS, weights_of
from npconv.golden.units import model_plan
from npconv.plan.step import Step

#: Differences, as a share of the spread of a picture's values, that are taken for rounding.
EQUAL = 1e-5

NORMS = ("layer_norm", "rms_norm", "simple_norm", "batch_norm")
BIASED = ("conv2d", "depthwise_conv2d", "pointwise_conv2d", "linear")


@dataclass(frozen=True)
class Hiding:
    """One thing that hides mistakes.

    Parameters
    ----------
    kind : str
        A key of :data:`WORDS`.
    count, total : int
        Of how many steps it is so, and of how many it could be; of pictures both are 1.
    first : str
        The first of the steps, or the name of the pictures.
    """

    kind: str
    count: int
    total: int
    first: str

    @property
    def is_usual(self) -> bool:
        """Whether it is so of any photo or of many trained models, and worth a word only when a trace is made."""
        return self.kind in ("one", "square") or 2 * self.count < self.total


#: What hides mistakes, in words.
WORDS = {
    "grn": "GRN of weight 0",
    "layer scale": "a layer scale of one value",
    "norm": "norms of weight 1 and bias 0",
    "bias": "biases of 0",
    "constant": "pictures of one value",
    "channel": "a channel of one value",
    "grey": "grey pictures",
    "alike": "pictures that are all the same",
    "mirrored": "pictures that are their own mirror image",
    "one": "one picture",
    "square": "square pictures",
}


def hidden(trace: Mapping[str, np.ndarray]) -> list[Hiding]:
    """Return what a trace hides: first of its weights, where it holds them and its steps, then of its pictures."""
    return [*_of_weights(trace), *_of_pictures(trace)]


def says(found: Sequence[Hiding]) -> str:
    """Return in words what may hide a mistake, and what does not; empty if nothing does."""
    if not found:
        return ""
    parts = [WORDS[one.kind] + (f" ({one.count} of {one.total})" if one.total > 1 else "") for one in found]
    return f"{', '.join(parts)} may hide a mistake; npconv trace --make MODEL draws what hides none"


def _of_weights(trace: Mapping[str, np.ndarray]) -> Iterator[Hiding]:
    """Yield the kinds of steps whose weights have no effect."""
    plan, params = model_plan(trace), weights_of(trace)
    held = [step for step in plan or () if step.params and all(name in params for name in step.params.values())]
    tests: tuple[tuple[str, Sequence[str], Callable[[Mapping[str, np.ndarray]], bool]], ...] = (
        ("grn", ("grn_apply",), lambda own: _all(own.get("weight"), 0)),
        ("layer scale", ("layer_scale",), lambda own: all(_constant(array) for array in own.values())),
        ("norm", NORMS, lambda own: _all(own.get("weight"), 1) and _all(own.get("bias", np.zeros(1)), 0)),
        ("bias", BIASED, lambda own: _all(own.get("bias"), 0)),
    )
    for kind, operations, is_so in tests:
        steps = [step for step in held if step.operation in operations and (kind != "bias" or "bias" in step.params)]
        wrong = [step for step in steps if is_so(_weights(step, params))]
        if wrong:
            yield Hiding(kind, len(wrong), len(steps), wrong[0].name)


def _weights(step: Step, params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the weights of a step by the names of its arguments."""
    return {name: np.asarray(params[full]) for name, full in step.params.items()}


def _all(array: np.ndarray | None, value: float) -> bool:
    """Tell whether there is an array and all of it is a value."""
    return array is not None and bool((array == value).all())


def _constant(array: np.ndarray) -> bool:
    """Tell whether an array of several values is one number."""
    return array.size > 1 and bool((array == array.flat[0]).all())


def _of_pictures(trace: Mapping[str, np.ndarray]) -> Iterator[Hiding]:
    """Yield what is so of all pictures at once; the first of several that say the same."""
    if PIXELS not in trace:
        return
    x = np.asarray(trace[PIXELS])
    if x.ndim != 4 or 0 in x.shape or x.dtype.kind != "f":
        return
    x = x.astype(np.float64)
    near = EQUAL * (float(x.max()) - float(x.min()))
    if not np.isfinite(near):  # nor all of the pictures
        return
    ranges = np.ptp(x, axis=(2, 3))
    if (ranges == 0).all():
        yield Hiding("constant", 1, 1, PIXELS)
    elif (ranges == 0).all(axis=0).any():
        yield Hiding("channel", 1, 1, PIXELS)
    elif _is_grey(trace, x):
        yield Hiding("grey", 1, 1, PIXELS)
    if len(x) > 1 and np.ptp(x, axis=0).max() <= near:
        yield Hiding("alike", 1, 1, PIXELS)
    if len(x) == 1:
        yield Hiding("one", 1, 1, PIXELS)
    if ranges.any() and any(np.abs(x - other).max() <= near for other in _mirrored(x)):
        yield Hiding("mirrored", 1, 1, PIXELS)
    if x.shape[2] == x.shape[3] > 1:
        yield Hiding("square", 1, 1, PIXELS)


def _mirrored(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pictures upside down, from the other side, and with rows and columns exchanged."""
    yield x[:, :, ::-1]
    yield x[:, :, :, ::-1]
    if x.shape[2] == x.shape[3]:
        yield x.transpose(0, 1, 3, 2)


def _is_grey(trace: Mapping[str, np.ndarray], x: np.ndarray) -> bool:
    """Tell whether the channels of pictures are the same, but for the normalization of each."""
    if x.shape[1] == 1:
        return False
    if DECODED in trace:
        picture = np.asarray(trace[DECODED])
        return picture.ndim == 3 and bool((picture == picture[..., :1]).all())
    flat = x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1).astype(np.float64)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat /= np.abs(flat).max(axis=1, keepdims=True)
    return bool(np.abs(flat - flat[:1]).max() <= EQUAL)
