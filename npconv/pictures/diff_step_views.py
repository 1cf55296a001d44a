"""What the page of ``npconv diff --html`` shows of a step: its result beside what it took, and what that tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from npconv.html import Markup
from npconv.pictures.diff_views import (
    AXES,
    BOTH,
    MOST_BARS,
    SQUARE,
    compared,
    difference_over,
    figure,
    reordered,
    row,
    sheet_of,
)
from npconv.pictures.implied import (
    MOST_KERNELS,
    implied_context,
    implied_heads,
    implied_shares,
    implied_weight,
    terms_of,
)
from npconv.pictures.maps import coloured
from npconv.pictures.picture import Picture, sheet
from npconv.pictures.plots import Plot, matrix, named_bars
from npconv.pictures.relations import correlation, finite, in_orders
from npconv.pictures.scales import Scale, scale_of
from npconv.plan.run import run_step
from npconv.plan.step import Step

#: Operations that normalize.
NORMS = ("layer_norm", "rms_norm", "simple_norm", "batch_norm")

#: Axes over which a norm may have taken its mean.
GROUPS = ("C", "D", "H", "W", "HW", "CHW", "NHW", "T", "TD")

#: The axes of weights of linear steps, by how many there are.
LETTERS = {2: "OI", 4: "OIHW"}

#: Numbers of a result, at most, for which its step is run again with other weights.
MOST_RUN = 4_000_000

#: What a sum may leave that is taken for one, as a share of the largest value.
LITTLE = 1e-2


@dataclass(frozen=True, eq=False)
class Seen:
    """A step, what it took, and what both made of it.

    Parameters
    ----------
    step : Step
    inputs : mapping of str to ndarray
    weights : mapping of str to ndarray
        Those of the reference.
    reference, mine : ndarray
    """

    step: Step
    inputs: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray]
    reference: np.ndarray
    mine: np.ndarray

    @property
    def arrays(self) -> list[np.ndarray]:
        """What it took, in the order of its arguments."""
        return list(self.inputs.values())

    @property
    def both(self) -> tuple[tuple[str, np.ndarray], ...]:
        """Both results with their names."""
        return ("reference", self.reference), ("mine", self.mine)


def beside_inputs(seen: Seen) -> list[Markup]:
    """Show both over each array of one shape that the step took, and of a step of its own kind what tells of that."""
    found: list[Markup] = []
    for name, source in seen.inputs.items():
        if source.shape == seen.reference.shape and source.size > 1:
            found += [_over(seen, name, source), difference_over(seen.mine - seen.reference, name, source)]
    return found + _derivative(seen) + _normalized(seen) + _projected(seen)


def by_kind(seen: Seen) -> list[tuple[str, Markup | None]]:
    """Return what is shown of some kinds of steps only, under their headings; nothing of others."""
    return [
        ("What it is a sum of", _shares(seen)),
        ("Tokens as a map, in another order", _unrolled(seen)),
        ("Sums", _sums(seen)),
        ("The channels of each head", _heads(seen)),
        ("The head of each channel", _mixed(seen)),
        ("The weight that would give it", _implied(seen)),
        ("The weight in another order", _other_weights(seen)),
    ]


def _over(seen: Seen, name: str, source: np.ndarray) -> Markup:
    """Show both over an array that the step took."""
    plot = Plot(scale_of(source), scale_of(seen.reference, seen.mine), *SQUARE)
    ends = np.array([max(plot.x.low, plot.y.low), min(plot.x.high, plot.y.high)])
    marks = [plot.points((source, seen.reference), (source, seen.mine))]
    if ends[0] < ends[1]:
        marks.append(plot.line(ends, ends, "guide"))
    drawn = plot.drawn(*marks, x_says="what the step took", y_says="result", alt=f"results over {name}")
    return figure(drawn, "result over input", f"of {name}. {BOTH} Dashed: passed on as it is.")


def _derivative(seen: Seen) -> list[Markup]:
    """Show of an activation the factor by which a gradient was passed on, over what the function took."""
    if seen.step.operation != "activation_backward" or len(seen.arrays) != 2:
        return []
    upstream, x = seen.arrays
    told = np.abs(upstream) > 1e-3 * np.abs(upstream).max(initial=0.0)
    if not told.any():
        return []
    factors = [array[told] / upstream[told] for _, array in seen.both]
    plot = Plot(scale_of(x[told]), scale_of(*factors), *SQUARE)
    points = plot.points(*((x[told], factor) for factor in factors))
    drawn = plot.drawn(points, x_says="what the function took", y_says="factor", alt="the derivative")
    return [figure(drawn, "factor of the gradient", f"The derivative of the function. {BOTH}")]


def _normalized(seen: Seen) -> list[Markup]:
    """Show of a norm, weight and bias taken off, by what factor mine is off, and along which axes its mean is 0."""
    step, source = seen.step, next(iter(seen.arrays), np.zeros(0))
    if step.operation not in NORMS or source.shape != seen.reference.shape:
        return []
    axis = int(step.attributes.get("axis", 1)) % source.ndim
    given = {
        name: np.asarray(seen.weights[key], np.float64) for name, key in step.params.items() if key in seen.weights
    }
    along = tuple(-1 if i == axis else 1 for i in range(source.ndim))
    weight, bias = (given.get(name, np.full(1, none)).reshape(along) for name, none in (("weight", 1.0), ("bias", 0.0)))
    right, other = ((array - bias) / np.where(weight == 0, 1.0, weight) for _, array in seen.both)
    axes: tuple[int, ...] = (axis,)
    if step.operation == "batch_norm":
        axes = tuple(i for i in range(source.ndim) if i != axis)
        variance = given["running_var"] if "running_var" in given else source.var(axes)
    else:
        variance = ((source - (step.operation != "rms_norm") * source.mean(axis, keepdims=True)) ** 2).mean(axis)
    factor = (right * other).sum(axes) / np.maximum((right**2).sum(axes), 1e-300)
    means = _means(right, other, step.layout) if step.operation in ("layer_norm", "simple_norm") else []
    return _factors(variance.reshape(-1), factor.reshape(-1)) + means


def _factors(variance: np.ndarray, factor: np.ndarray) -> list[Markup]:
    """Show factors over the variances of what was normalized."""
    told = (variance > 0) & np.isfinite(factor)
    if told.sum() < 2:
        return []
    x = Scale(float(variance[told].min()) * 0.8, float(variance[told].max()) * 1.25, log=True)
    plot = Plot(x, scale_of(factor[told], np.ones(1)), *SQUARE)
    marks = [plot.points((variance[told], factor[told])), plot.line([x.low, x.high], [1, 1], "guide")]
    drawn = plot.drawn(
        *marks, x_says="variance of what is normalized", y_says="mine / reference", alt="factors of a norm"
    )
    says = "Weight and bias taken off. A smooth curve: another eps. One height: another count. A cloud: something else."
    return [figure(drawn, "factor at each position", says)]


def _means(right: np.ndarray, other: np.ndarray, layout: str) -> list[Markup]:
    """Show how far means over some axes are from 0, of both."""
    letters = layout if len(layout) == right.ndim else ""
    found = []
    for name, array in (("reference", right), ("mine", other)):
        sizes = {}
        for group in GROUPS:
            if set(group) <= set(letters):
                means = finite(array).mean(axis=tuple(map(letters.index, group)))
                sizes[f"over {group}"] = float(np.sqrt((means**2).mean()))
        if sizes:
            drawn = named_bars(sizes, says="size of the mean", alt=f"means of {name}", names=70)
            found.append(figure(drawn, f"means of {name}", "0 over what is normalized. Weight and bias taken off."))
    return found


def _projected(seen: Seen) -> list[Markup]:
    """Show of the gradient of a LayerNorm's input what it holds of the mean and of the normalized input: nothing."""
    step, source = seen.step, seen.arrays[-1] if seen.inputs else np.zeros(0)
    is_it = step.operation == "layer_norm_backward" and step.attributes.get("wrt") == "x"
    if not is_it or source.shape != seen.reference.shape:
        return []
    axis = int(step.attributes["axis"])
    spread = source - source.mean(axis, keepdims=True)
    spread = spread / np.sqrt((spread**2).mean(axis, keepdims=True) + step.attributes["eps"])
    right, other = ((array.mean(axis).reshape(-1), (array * spread).mean(axis).reshape(-1)) for _, array in seen.both)
    most = max(float(np.abs(finite(array)).max(initial=0.0)) for array in (*right, *other)) or 1.0
    far = Scale(-1.1 * most, 1.1 * most)
    plot = Plot(far, far, *SQUARE)
    ends, zeros = [far.low, far.high], [0, 0]
    marks = [plot.points(right, other), plot.line(ends, zeros, "guide"), plot.line(zeros, ends, "guide")]
    drawn = plot.drawn(*marks, x_says="mean", y_says="along the normalized input", alt="parts of a gradient")
    says = f"A point for each position: two parts of the gradient over channels, both 0 in a right one. {BOTH}"
    return [figure(drawn, "what a norm takes away", says)]


def _unrolled(seen: Seen) -> Markup | None:
    """Show how much tokens look like the reference's in other orders of the map that they were made of."""
    source = next(iter(seen.arrays), np.zeros(0))
    if seen.reference.ndim != 3 or source.ndim != 4 or len(source) != len(seen.reference):
        return None
    height, width = source.shape[2:]
    if seen.reference.shape[1] - height * width not in (0, 1) or height * width < 2:
        return None
    right, mine = (array[:, -height * width :].reshape(len(array), height, width, -1) for _, array in seen.both)
    return row(reordered(right, mine, "NHWD"))


def _sums(seen: Seen) -> Markup | None:
    """Show of a softmax, or of its gradient, what both add up to along each axis: 1, or 0, along one."""
    letters = seen.step.layout
    if seen.step.operation not in ("softmax", "softmax_backward") or len(letters) != seen.reference.ndim:
        return None
    parts = []
    for axis, letter in enumerate(letters):
        if letter == "N":
            continue
        right, other = (np.sort(array.sum(axis=axis), axis=None) for _, array in seen.both)
        few = -(-right.size // MOST_BARS)
        places = np.arange(len(right[::few]), dtype=np.float64)
        plot = Plot(Scale(-0.6, len(places) - 0.4), scale_of(right, other, zero=True), 150, 100)
        marks = [plot.dots(places, right[::few], "reference"), plot.dots(places, other[::few], "mine")]
        drawn = plot.drawn(*marks, x_says="from the least to the most", y_says="sum", alt=f"sums over {letter}")
        parts.append(figure(drawn, f"sums over {AXES.get(letter, letter)}s", "Blue: reference. Orange: mine."))
    return row(*parts)


def _shares(seen: Seen) -> Markup | None:
    """Show how often each input, or each sample, must have been counted in a sum."""
    terms, what = terms_of(seen.step, seen.arrays, seen.weights)
    found = [(name, implied_shares(terms, array)) for name, array in seen.both] if terms else []
    counts = [one[0] for _, one in found if one is not None]
    if len(counts) != 2:
        return None
    parts = []
    for name, one in found:
        if one is not None:
            plot = Plot(Scale(-0.6, len(terms) - 0.4), scale_of(*counts, np.ones(1), zero=True), 110, 100)
            marks = [plot.bars(one[0], name), plot.line([-1, len(terms)], [1, 1], "guide")]
            drawn = plot.drawn(*marks, x_says=what, y_says="counted", alt=f"each {what}'s share", places=(len(terms),))
            times = ", ".join(f"{count:.4f}" for count in one[0][:8])
            says = f"{times}; " if one[1] < LITTLE else "It is no such sum: that "
            parts.append(
                figure(
                    drawn, f"how often each {what} counts, {name}", f"{says}leaves {one[1]:.1g} of the largest value."
                )
            )
    return row(*parts)


def _heads(seen: Seen) -> Markup | None:
    """Show which channels each head of attention must have taken, to give both scores."""
    if seen.step.operation != "attention_scores" or len(seen.arrays) != 2:
        return None
    queries, keys = seen.arrays
    found = [(name, implied_heads(queries, keys, array)) for name, array in seen.both]
    right = found[0][1]
    parts = []
    for name, factors in found:
        if factors is not None and right is not None:
            highest = float(np.abs(right).max(initial=0.0))
            drawn = matrix(factors, highest, x_says="channel", y_says="head", alt=f"channels of heads, {name}")
            says = f"Full colour at {highest:.4g}, the reference's scale; the largest here {np.abs(factors).max():.4g}."
            parts.append(figure(drawn, f"channels that each head takes, {name}", says))
    return row(*parts)


def _mixed(seen: Seen) -> Markup | None:
    """Show which head mixed each channel of the result of attention, and which channel of the values that was."""
    if seen.step.operation != "attention_context" or len(seen.arrays) != 2:
        return None
    probabilities, values = seen.arrays
    parts = []
    for name, array in seen.both:
        counts = implied_context(probabilities, values, array)
        if counts is None:
            return None
        by_head, by_channel = counts.sum(axis=2).T, counts.sum(axis=1)
        drawn = matrix(by_head, 1.0, x_says="channel of the result", y_says="head", alt=f"heads of channels, {name}")
        parts.append(figure(drawn, f"head that each channel is mixed by, {name}"))
        x_says, y_says = "channel of the values", "channel of the result"
        drawn = matrix(by_channel, 1.0, x_says=x_says, y_says=y_says, alt=f"channels, {name}")
        parts.append(figure(drawn, f"channel of the values that it holds, {name}"))
    return row(*parts)


def _implied(seen: Seen) -> Markup | None:
    """Show the weight that a linear step must have had to give the reference, and mine."""
    kernel = seen.weights.get(seen.step.params.get("weight", ""))
    if kernel is None or not seen.inputs or seen.mine.ndim < 2:
        return None
    error = np.abs(finite(seen.mine - seen.reference))
    worst = np.argsort(-error.max(axis=tuple(i for i in range(error.ndim) if i != 1)), kind="stable")
    channels = sorted(map(int, worst[:MOST_KERNELS]))
    bias = seen.weights.get(seen.step.params.get("bias", ""))
    found = [implied_weight(seen.step, seen.arrays[0], array, kernel, bias, channels) for _, array in seen.both]
    told = [one for one in found if one is not None]
    if len(told) < 2:
        return None
    highest = float(max(np.abs(weight).max() for weight, _ in told))
    parts: list[Markup | None] = []
    some = "" if told[0][0].ndim == 2 else f"channels {', '.join(map(str, channels))}"
    for (name, _), (weight, _) in zip(seen.both, told, strict=True):
        if some:
            pixels = sheet(list(coloured(weight, highest, signed=True)), 3)
            shown = sheet_of(Picture(pixels), name, highest)
            says = f"kernels of {some}"
        else:
            shown = matrix(weight, highest, x_says="input", y_says="output", alt=f"weight that gives {name}")
            says = f"Full colour at {highest:.3g}."
        parts.append(figure(shown, f"weight that gives {name}", says))
    return row(*parts, _biases(told[0][1], told[1][1], 0.02 * highest, some))


def _other_weights(seen: Seen) -> Markup | None:
    """Show how much mine looks like what the step makes with its weight in other orders."""
    key = seen.step.params.get("weight", "")
    weight = seen.weights.get(key)
    if weight is None or weight.ndim not in LETTERS or seen.reference.size * len(LETTERS[weight.ndim]) > MOST_RUN:
        return None
    found = {}
    for name, other in in_orders(np.asarray(weight, np.float64), LETTERS[weight.ndim]).items():
        with np.errstate(all="ignore"):
            made = run_step(seen.step, seen.arrays, {**seen.weights, key: other})
        found[name] = correlation(made, seen.mine) if made.shape == seen.mine.shape else 0.0
    return row(compared(found, "what the weight in other orders gives")) if len(set(found.values())) > 1 else None


def _biases(right: np.ndarray, other: np.ndarray, least: float, some: str) -> Markup:
    """Show the biases that go with weights, of all channels or of some, on a scale that shows numbers of some size."""
    places = np.arange(len(right), dtype=np.float64)
    scale = scale_of(right, other, np.array([-least, least]))
    plot = Plot(Scale(-0.6, len(right) - 0.4), scale, int(np.clip(14 * len(right), 150, 280)), 120)
    marks = (
        plot.line([-1, len(places)], [0, 0], "guide"),
        plot.dots(places - 0.15, right, "reference"),
        plot.dots(places + 0.15, other, "mine"),
    )
    counted = (0,) if some else (len(places),)
    drawn = plot.drawn(*marks, x_says=some or "channel", y_says="bias", alt="biases", places=counted)
    return figure(drawn, "bias that gives both", "Blue: reference. Orange: mine.")
