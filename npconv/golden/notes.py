"""What the reader of a comparison should know of how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from npconv.golden.align import Aligned
from npconv.golden.inputs import is_noise, tensors
from npconv.golden.measures import MULTIPLE, UNMEASURED, is_before_model, noise_of
from npconv.golden.pairing import Pairs
from npconv.golden.readings import readings
from npconv.golden.trace_file import about
from npconv.messages import listed


def note_layouts(found: Sequence[Aligned]) -> list[str]:
    """Say which tensors were read in another order of axes."""
    said: dict[str, list[str]] = {}
    for entry in found:
        if entry.tensor.reading is not None and entry.tensor.reading.says:
            said.setdefault(entry.tensor.reading.says, []).append(entry.tensor.name)
    parts = [f"{tensors(len(names))} {says} (first {names[0]})" for says, names in said.items()]
    return [f"layout: {'; '.join(parts)}"] if parts else []


def note_second(found: Sequence[Aligned], pairs: Pairs, mine: Mapping[str, np.ndarray]) -> list[str]:
    """Say which tensors diverge of which mine has several, not all the same, under one name."""
    for entry in [entry for entry in found if not entry.tensor.is_good]:
        own, others = mine[entry.mine], [pairs.names[entry.tensor.name], *pairs.second.get(entry.tensor.name, ())]
        if not all(_are_the_same(own, mine[one]) for one in others):
            return [
                f"names: MINE holds {len(others)} tensors for {entry.tensor.name}; compared is {entry.mine}, which "
                "diverges"
            ]
    return []


def _are_the_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether two arrays hold the same numbers, maybe with their axes in another order."""
    ways = readings(one.shape, other.shape)
    return any(np.array_equal(one, reading.of(other, one.shape), equal_nan=True) for reading in ways)


def note_sizes(found: Sequence[Aligned]) -> list[str]:
    """Say of how many tensors the tolerance is as large as they are, so that anything would pass."""
    names = [entry.tensor.name for entry in found if is_noise(entry)]
    return [f"noise: {tensors(len(names))} cannot be told from noise (first {names[0]})"] if names else []


def note_weights(reference: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray]) -> list[str]:
    """Say if both tell their weights and they differ; a port may rename and reorder them, so that is not an error."""
    weights, own = (about(trace).get("checkpoint") for trace in (reference, mine))
    if weights and own and weights != own:
        return [f"weights: their hashes differ ({weights[:12]} and {own[:12]})"]
    return []


def note_noise(
    reference: Mapping[str, np.ndarray], names: Iterable[str], unit: str, measured: Mapping[str, float]
) -> list[str]:
    """Say of how many tensors no rounding noise was measured, so that their tolerance is a guess."""
    compared = [name for name in names if not is_before_model(name)]
    left = [name for name in compared if name not in measured]
    unknown = [name for name in left if noise_of(reference, name) is None]
    notes = []
    if unit != "float32" and left:
        which = "" if len(left) == len(compared) else f" of {listed(left, 1)}"
        notes = [
            f"noise: that of {unit}{which} cannot be measured (it takes the steps, weights and pixel values of "
            "REFERENCE, and finite numbers); the tolerance there is that of float32, grown by the unit roundoff"
        ]
    if not unknown:
        return notes
    which = "" if len(unknown) == len(compared) else f" of {listed(unknown, 1)}"
    return [
        *notes,
        f"noise: REFERENCE holds no measured noise{which}; the tolerance there is {MULTIPLE * UNMEASURED} unit "
        "roundoffs of the largest value",
    ]
