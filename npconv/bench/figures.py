"""Medians, quartiles, ratios to one engine, means over the models, and how far logits are from the truth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

#: Largest difference at which an engine counts as right, relative to the largest logit. Rounding in float32 leaves
#: about 1e-6 in these models; a wrong eps or another form of GELU leaves 1e-3 and more.
TOLERANCE = 5e-5

#: What ratios are taken to: the first of these that every model was measured with.
BASES = ("torch", "onnxruntime", "explicit")


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(np.median(values))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and third quartile, linearly interpolated."""
    first, third = np.percentile(values, [25, 75])
    return float(first), float(third)


def paired_ratio(times: Mapping[int, float], base: Mapping[int, float]) -> float | None:
    """Return the median of the ratios within a round, over the rounds in which both had a turn; None without one."""
    ratios = [seconds / base[number] for number, seconds in times.items() if number in base]
    return median(ratios) if ratios else None


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


def difference(logits: Sequence[Sequence[float]], truth: Sequence[Sequence[float]]) -> float:
    """Return the largest difference from the truth, relative to the largest logit.

    Infinite where shapes differ or a number is not finite. Compares as many pictures as `logits` has; the truth may
    go on.
    """
    got, expected = np.asarray(logits, np.float64), np.asarray(truth, np.float64)[: len(logits)]
    if got.shape != expected.shape or not np.isfinite(got).all():
        return math.inf
    return float(np.abs(got - expected).max()) / max(float(np.abs(expected).max()), 1e-30)


def agrees(relative_difference: float) -> bool:
    """Tell whether an engine with this difference computes the same model."""
    return relative_difference <= TOLERANCE


def choose_base(report: dict[str, Any]) -> str:
    """Return the engine to which ratios are taken."""
    measured = [{result["engine"] for result in model["results"]} for model in report["models"]]
    return next((name for name in BASES if all(name in engines for engines in measured)), BASES[-1])


def add_ratios(report: dict[str, Any]) -> None:
    """Write into a report what follows from its measurements.

    ``base``; for each result ``ratio`` (of times, median within a round; above 1 is slower than the base), ``flops``
    (operations a second, two for each multiply-add) and ``of_peak`` (their part of the sgemm peak on all threads, or of
    the device); for each fresh start ``cold_ratio`` and ``memory_ratios`` by batch. A ratio that cannot be taken is
    None.
    """
    base = report["base"] = choose_base(report)
    settings = report["settings"]
    peak = report["sgemm"][str(settings["threads"]) if settings["device"] == "cpu" else settings["device"]]
    for model in report["models"]:
        base_times = {result["batch"]: _by_round(result) for result in model["results"] if result["engine"] == base}
        for result in model["results"]:
            result["ratio"] = paired_ratio(_by_round(result), base_times.get(result["batch"], {}))
            result["flops"] = 2 * model["multiply_adds"] * result["batch"] / result["seconds"]
            result["of_peak"] = result["flops"] / peak
        base_start = next((start for start in model["fresh"] if start["engine"] == base), None)
        for start in model["fresh"]:
            start["cold_ratio"] = start["cold_start"] / base_start["cold_start"] if base_start else None
            start["memory_ratios"] = {
                batch: amount / base_start["peak_bytes"][batch]
                if base_start and amount and base_start["peak_bytes"].get(batch)
                else None
                for batch, amount in start["peak_bytes"].items()
            }


def _by_round(result: dict[str, Any]) -> dict[int, float]:
    """Return the times of a result by their rounds."""
    return dict(zip(result["rounds"], result["times"], strict=True))


def means(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the geometric means of the ratios over the models, for each engine.

    Only over all models: a mean without the one where an engine failed would flatter it, and is None.
    """
    models = report["models"]
    batches = [str(batch) for batch in report["settings"]["batches"]]
    found = []
    for engine in (description["engine"] for description in report["engines"] if not description["missing"]):
        results = [result for model in models for result in model["results"] if result["engine"] == engine]
        starts = [start for model in models for start in model["fresh"] if start["engine"] == engine]
        found.append(
            {
                "engine": engine,
                "time": {
                    batch: _mean((r["ratio"] for r in results if str(r["batch"]) == batch), len(models))
                    for batch in batches
                },
                "cold_start": _mean((start["cold_ratio"] for start in starts), len(models)),
                "memory": {
                    batch: _mean((start["memory_ratios"].get(batch) for start in starts), len(models))
                    for batch in batches
                },
            }
        )
    return found


def _mean(ratios: Iterable[float | None], count: int) -> float | None:
    """Return the geometric mean of `count` ratios; None if one is missing."""
    known = [ratio for ratio in ratios if ratio is not None]
    return geometric_mean(known) if len(known) == count else None
