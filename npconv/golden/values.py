"""What a comparison says, as values for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npconv.golden.births import Birth
from npconv.golden.compare import Comparison, Difference
from npconv.golden.islands import Island
from npconv.golden.judge import Suspect, Suspects
from npconv.golden.origin import Origin
from npconv.golden.report import likely_in_mine, likely_in_reference, verdict, why, why_born
from npconv.golden.sentences import island_in_words, weight_in_words
from npconv.golden.trace_file import about
from npconv.golden.weights import Weight


def to_values(
    comparison: Comparison,
    origin: Origin | None = None,
    suspects: Sequence[Suspect] = (),
    *,
    also: Sequence[Birth] = (),
    names: tuple[str, str] = ("REFERENCE", "MINE"),
) -> dict[str, Any]:
    """Return everything that a report says as JSON values, and all tensors; infinity is a float as Python has it."""
    first = comparison.first
    return {
        "verdict": verdict(comparison),
        "diverges": comparison.diverges,
        "first": _first(comparison),
        "last_good": comparison.last_good.name if comparison.last_good else None,
        "reference": {"file": names[0], **_about(comparison.reference)},
        "mine": {"file": names[1], **_about(comparison.mine)},
        "notes": list(comparison.notes),
        "hidden": [vars(one) for one in comparison.hidden],
        "islands": [_island_values(island) for island in comparison.islands],
        "exchanged": [[pair.one, pair.other] for pair in comparison.exchanged],
        "held": comparison.held,
        "aliases": [_values(difference) for difference in comparison.aliases],
        "weights": [_weight_values(weight) for weight in comparison.weights],
        "missing": list(comparison.missing),
        "extra": list(comparison.extra),
        "names": {
            **comparison.named._asdict(),
            "likely_in_mine": likely_in_mine(comparison),
            "likely_in_reference": likely_in_reference(comparison),
        },
        "origin": None if origin is None else _origin_values(origin),
        "suspects": _suspects_values(suspects),
        "why": why(first, suspects, origin) if first else [],
        "also_born": [_birth_values(birth) for birth in also],
        "tensors": [_values(difference) for difference in comparison.differences],
    }


def _first(comparison: Comparison) -> str | None:
    """Return the name of the first divergence: of a weight, if one was wrong on loading."""
    if comparison.wrong_weights:
        return comparison.wrong_weights[0].difference.name
    return comparison.first.name if comparison.first else None


def _island_values(island: Island) -> dict[str, Any]:
    """Return an island as JSON values."""
    names = {"names": list(island.names), "good": list(island.good), "values": dict(island.values)}
    return {**vars(island), **names, "says": island_in_words(island)}


def _weight_values(weight: Weight) -> dict[str, Any]:
    """Return a weight as JSON values; of one that is right, only how far it is off."""
    says = weight_in_words(weight) if weight.difference.diverges else ""
    return {**_values(weight.difference), "kind": weight.kind, "values": dict(weight.values), "says": says}


def _origin_values(origin: Origin) -> dict[str, Any]:
    """Return an origin as JSON values."""
    names = {"steps": list(origin.steps), "start": list(origin.start)}
    return {"born_here": origin.is_born_here, **vars(origin), **names}


def _birth_values(birth: Birth) -> dict[str, Any]:
    """Return a mistake after the first as JSON values."""
    return {
        "tensor": birth.places[0],
        "places": list(birth.places),
        "again": birth.again,
        "born": birth.origin.born,
        "tolerance": birth.origin.tolerance,
        "suspects": _suspects_values(birth.suspects),
        "why": why_born(birth),
    }


def _suspects_values(suspects: Sequence[Suspect]) -> list[dict[str, Any]]:
    """Return suspects as JSON values; each with how many were ruled out, and which of these leaves least."""
    others = suspects if isinstance(suspects, Suspects) else None
    nearest = others.runner_up if others else None
    margin = {
        "alternatives": others.ruled_out if others else 0,
        "runner_up": {"says": nearest.says, "step": nearest.step.name, "residual": nearest.residual}
        if nearest
        else None,
    }
    return [{**_suspect_values(suspect), **margin} for suspect in suspects]


def _suspect_values(suspect: Suspect) -> dict[str, Any]:
    """Return a suspect as JSON values."""
    return {
        "says": suspect.says,
        "mistake": suspect.mistake.name if suspect.mistake else None,
        "step": suspect.step.name,
        "steps": suspect.steps,
        "places": suspect.places,
        "residual": suspect.residual,
        "fits": suspect.fits,
        "refuted": suspect.refuted,
        "kind": suspect.kind or ("catalogue" if suspect.mistake else "layout or format"),
        "values": dict(suspect.values),
    }


def _about(trace: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trace says of itself, without what is said of single tensors."""
    kept = ("model", "family", "task", "dtype", "checkpoint", "input", "photo", "versions")
    return {key: value for key, value in about(trace).items() if key in kept and value is not None}


def _values(difference: Difference) -> dict[str, Any]:
    """Return a difference as JSON values."""
    fields = {key: value for key, value in vars(difference).items() if key != "reading"}
    fields["shape_reference"], fields["shape_mine"] = list(difference.shape_reference), list(difference.shape_mine)
    return {**fields, "diverges": difference.diverges}
