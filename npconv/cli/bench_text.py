"""The text of ``npconv bench``, a function for each part; 80 columns."""

from __future__ import annotations

import textwrap
from typing import Any

from npconv.bench.processes import DISTURBING
from npconv.cli.output import table
from npconv.messages import escape

WIDTH = 79

NOTE = """\
Times are medians over the rounds, with their quartiles and the best call; ratios are taken within a round, then \
their median. Of the sgemm peak, counting two operations for each multiply-add. The difference is the largest from \
the float64 logits of the explicit engine, relative to the largest logit. Cold start: from the start of a process to \
the logits of a picture file, with all files in the system's cache, exports and compiled code made before. Memory: the \
peak of all processes while loading the model and running it; what they share counts once, looked at every 20 ms."""


def render(report: dict[str, Any]) -> str:
    """Return a whole report as text."""
    base = report["base"]
    parts = [overview(report)]
    for model in report["models"]:
        title = (
            f"{escape(model['model'])}{' (random weights)' * model['random_weights']}, "
            f"{model['size'][0]} x {model['size'][1]}: {model['parameters'] / 1e6:.3g} M parameters, "
            f"{model['multiply_adds'] / 1e9:.3g} G multiply-adds"
        )
        parts.append([title, "", *times(model, base), "", *fresh(model, base), *failures(model)])
    if len(report["models"]) > 1:
        parts.append(means(report))
    parts.append(textwrap.wrap(NOTE, WIDTH))
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def overview(report: dict[str, Any]) -> list[str]:
    """Return the lines on the machine, the settings and the engines."""
    machine, settings = report["machine"], report["settings"]
    threads = "1 thread" if settings["threads"] == 1 else f"{settings['threads']} threads"
    peaks = ", ".join(f"{flops / 1e9:.0f} GFLOP/s on {count}" for count, flops in report["sgemm"].items())
    if settings["device"] == "cpu":
        peaks += " thread" if settings["threads"] == 1 else " threads"
    rows = [
        ["machine", f"{machine['processor']}, {machine['cores']} cores; {machine['system']}"],
        ["npconv", f"{machine['npconv']}, NumPy {machine['numpy']} with {machine['blas']}, Python {machine['python']}"],
    ]
    if "device" in machine:
        rows.append([settings["device"], f"{machine['device']}; float32 without TF32"])
    for engine in report["engines"]:
        if engine["rival"]:
            rows.append([engine["engine"], rival_text(engine)])
    rows.append(["measured", f"{threads}, float32, {settings['rounds']} rounds" + ", quick" * settings["quick"]])
    rows.append(["sgemm", peaks])
    others = max((result["others"] or 0 for model in report["models"] for result in model["results"]), default=0)
    if others > DISTURBING:
        rows.append(["WARNING", f"other programs kept up to {others:.1f} cores busy meanwhile: do not trust the times"])
    return table([[escape(cell) for cell in row] for row in rows])


def rival_text(engine: dict[str, Any]) -> str:
    """Return the versions of a rival, or what it lacks."""
    if engine["missing"]:
        return f"left out, not installed: {', '.join(engine['missing'])}"
    return ", ".join(f"{name} {version}" for name, version in list(engine["versions"].items())[:2])


def times(model: dict[str, Any], base: str) -> list[str]:
    """Return the table of times."""
    head = ["batch", "engine", "ms", "quartiles", "best", f"x {base}", "of peak", "difference"]
    rows, batch = [head], None
    for result in model["results"]:
        first, third = (milliseconds(seconds) for seconds in result["quartiles"])
        rows.append(
            [
                "" if result["batch"] == batch else str(result["batch"]),
                result["engine"] + "*" * result["restless"],
                milliseconds(result["seconds"]),
                f"{first} .. {third}",
                milliseconds(result["best"]),
                ratio(result["ratio"]),
                f"{100 * result['of_peak']:.0f} %",
                f"{result['difference']:.0e}" + " WRONG" * (not result["agrees"]),
            ]
        )
        batch = result["batch"]
    return table(rows, right=(0, 2, 3, 4, 5, 6), indent=1)


def fresh(model: dict[str, Any], base: str) -> list[str]:
    """Return the table of cold starts and memory."""
    batches = list(dict.fromkeys(batch for start in model["fresh"] for batch in start["peak_bytes"]))
    head = ["engine", "cold start s", f"x {base}"]
    for batch in batches:
        head += [f"MB, batch {batch}", f"x {base}"]
    rows = [head]
    for start in model["fresh"]:
        row = [start["engine"], f"{start['cold_start']:.2f}", ratio(start["cold_ratio"])]
        for batch in batches:
            amount = start["peak_bytes"].get(batch)
            row += [f"{amount / 1e6:.0f}" if amount else "-", ratio(start["memory_ratios"].get(batch))]
        rows.append(row)
    return table(rows, right=range(1, len(head)), indent=1) if len(rows) > 1 else []


def failures(model: dict[str, Any]) -> list[str]:
    """Return what went wrong, a paragraph for each engine."""
    found = [f"{name} FAILED: {escape(reason)}" for name, reason in model["failures"].items()]
    wrong = dict.fromkeys(result["engine"] for result in model["results"] if not result["agrees"])
    found += [f"{name} is WRONG: its logits differ from the truth by more than rounding" for name in wrong]
    restless = dict.fromkeys(result["engine"] for result in model["results"] if result["restless"])
    found += [f"* {name} kept a core busy after its turns, at the expense of the next engine" for name in restless]
    return [""] * bool(found) + [line for text in found for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ")]


def means(report: dict[str, Any]) -> list[str]:
    """Return the table of means over the models."""
    batches = [str(batch) for batch in report["settings"]["batches"]]
    head = ["engine", *(f"time, batch {batch}" for batch in batches), "cold start"]
    rows = [head + [f"memory, batch {batch}" for batch in batches]]
    for mean in report["means"]:
        row = [mean["engine"], *(ratio(mean["time"][batch]) for batch in batches), ratio(mean["cold_start"])]
        rows.append(row + [ratio(mean["memory"][batch]) for batch in batches])
    title = f"geometric means of the ratios to {report['base']} over {len(report['models'])} models"
    return [title, "", *table(rows, right=range(1, len(rows[0])), indent=1)]


def milliseconds(seconds: float) -> str:
    """Return seconds in milliseconds with three digits or all before the point."""
    value = 1000 * seconds
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def ratio(value: float | None) -> str:
    """Return a ratio; a dash where it could not be taken."""
    return "-" if value is None else f"{value:.2f}"
