"""What two traces start from must be the same, and something must be left to compare that is not given to both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from npconv.errors import GoldenError
from npconv.golden.align import Aligned, read
from npconv.golden.measures import WHOLE, is_before_model, tolerance
from npconv.golden.pairing import Pairs, nothing_common
from npconv.golden.preprocessing import DECODED
from npconv.golden.roundings import UNITS
from npconv.golden.trace_file import PIXELS, about
from npconv.golden.units import model_plan
from npconv.messages import listed, quoted, shown
from npconv.plan.gradient_steps import LABELS


def check_inputs(
    reference: Mapping[str, np.ndarray],
    mine: Mapping[str, np.ndarray],
    names: Mapping[str, str],
    unit: str,
    layout: str,
) -> tuple[str, set[str], str | None]:
    """Refuse traces of different inputs; return how that was checked, and the names of what is given to both.

    Pixel values that differ may be folded, as where the first convolution normalizes. So why they would be refused is
    returned as well: None if they are the same.

    Where both start from a photo and pixel values are compared, the photo is the input. Pixel values are made of the
    photo if both hold it decoded, and else given.
    """
    given = {DECODED} if DECODED in names else {PIXELS}
    photo, own_photo = (about(trace).get("photo") for trace in (reference, mine))
    if photo and own_photo and photo != own_photo:
        raise GoldenError(
            f"the traces are of different photos ({photo[:12]} and {own_photo[:12]}); trace the same one again"
        )
    if photo and own_photo and any(map(is_before_model, names)):
        return "input: the same photo", given, None
    pixels, own_pixels = (about(trace).get("input") for trace in (reference, mine))
    if pixels and pixels == own_pixels:
        return "input: the same", {DECODED, PIXELS}, None
    if DECODED in names:
        picture = read(np.asarray(reference[DECODED]), np.asarray(mine[names[DECODED]]), WHOLE, layout=layout)
        if picture is not None and picture[1].max_abs <= WHOLE:
            return "input: the same decoded photo", given, None
    if PIXELS in names:
        note, refused = _check_pixels(reference, mine, names[PIXELS], unit, layout)
        return note, {DECODED, PIXELS}, refused
    if pixels and own_pixels:
        raise GoldenError(
            f"the traces are of different inputs ({pixels[:12]} and {own_pixels[:12]}); give the same to both, or "
            f"record {PIXELS} in both to see how far they differ"
        )
    unknown = [whose for whose, known in (("REFERENCE", pixels), ("MINE", own_pixels)) if not known]
    return f"input: could not be checked to be the same; {' and '.join(unknown)} does not tell it", given, None


def check_labels(reference: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray], names: Mapping[str, str]) -> None:
    """Refuse traces whose gradients are of other labels."""
    if LABELS not in names:
        return
    labels, own = np.asarray(reference[LABELS]).reshape(-1), np.asarray(mine[names[LABELS]]).reshape(-1)
    if labels.shape != own.shape or not np.allclose(labels, own):
        raise GoldenError(
            f"the traces are of different labels: {shown(labels.tolist())} and {shown(own.tolist())}; give the same to "
            "both"
        )


def given_to_both(reference: Mapping[str, np.ndarray]) -> set[str]:
    """Return what the steps of a trace start from that is no picture: labels, the gradient of the loss, masks."""
    plan = model_plan(reference)
    return set() if plan is None else {name for step in plan for name in step.inputs if name not in plan} - {PIXELS}


def _check_pixels(
    reference: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray], own: str, unit: str, layout: str
) -> tuple[str, str | None]:
    """Say whether pixel values are the same up to their rounding; if not, why to refuse them, and what would help."""
    truth, array = np.asarray(reference[PIXELS]), np.asarray(mine[own])
    limits = {name: tolerance(reference, PIXELS, name) for name in UNITS}
    found = read(truth, array, limits[unit], letters="NCHW", layout=layout)
    if found is not None and found[1].max_abs <= limits[unit]:
        return f"input: the same {PIXELS}" + (f", {found[0].says}" if found[0].says else ""), None
    far = "shapes do not fit" if found is None else f"largest difference {found[1].max_abs:.1e}"
    turned = read(truth[:, ::-1], array, limits[unit], letters="NCHW", layout=layout) if truth.ndim == 4 else None
    if turned is not None and turned[1].max_abs <= limits[unit]:
        far = "they are the same with channels in the opposite order, BGR for RGB"
    advice = "give the same to both"
    other = read(truth, array, limits[unit], letters="NCHW") if layout == "strict" else None
    if other is not None and other[1].max_abs <= limits[unit]:
        advice += f", or --layout auto: {other[0].says} they are the same"
    fitting = [name for name in UNITS if found is not None and found[1].max_abs <= limits[name] and name != unit]
    if fitting:
        advice += f", or --unit {fitting[0]} if that is what MINE computes in"
    if DECODED in reference and DECODED not in mine:
        advice += f", or record {DECODED} in MINE as well, to be told which step differs"
    return f"input: {PIXELS} differ", f"the traces are of different inputs: {PIXELS} differ ({far}); {advice}"


def check_compared(found: Sequence[Aligned], pairs: Pairs, inputs: set[str]) -> list[str]:
    """Refuse a comparison without a divergence that could not have shown one; say if none of the model was compared.

    Inputs are given to both. A tensor without elements has nothing to differ in, and one that is no larger than its
    tolerance would pass with any values of its size.
    """
    made = [entry for entry in found if entry.tensor.name not in inputs]
    lost, extra = ([name for name in names if not is_before_model(name)] for names in (pairs.missing, pairs.extra))
    of_model = [entry for entry in made if not is_before_model(entry.tensor.name)]
    if lost and extra and not of_model:
        raise GoldenError(nothing_common(lost, extra))
    if not made:
        raise GoldenError(
            f"nothing was compared: the traces share {listed(list(map(quoted, pairs.names)))} only, which is given to "
            "both; record in both what is computed of it"
        )
    full = [entry for entry in made if entry.measures is not None and 0 not in entry.tensor.shape]
    if not full:
        raise GoldenError(
            f"nothing was compared: {tensors(len(made))} that both have (first {quoted(made[0].tensor.name)}) hold no "
            "values; record them again"
        )
    telling = [entry for entry in full if not is_noise(entry)]
    if not telling:
        raise GoldenError(
            f"nothing was compared: of {tensors(len(full))} (first {quoted(full[0].tensor.name)}) the tolerance is as "
            "large as the values, so that anything would pass; compare in --unit float32 without --rtol, with a small "
            "--atol"
        )
    if any(not is_before_model(entry.tensor.name) for entry in telling):
        return []
    return ["compared: the preprocessing only, and nothing that the model computes"]


def is_noise(entry: Aligned) -> bool:
    """Tell whether a tensor is no larger than its tolerance, so that anything would pass."""
    return entry.measures is not None and 0 < entry.measures.largest <= entry.limit


def tensors(count: int) -> str:
    """Return a number of tensors in words."""
    return f"{count} tensor" if count == 1 else f"{count} tensors"
