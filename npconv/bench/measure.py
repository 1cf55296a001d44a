"""The whole of ``npconv bench``: settings in, one report out, as plain data that JSON can hold.

Rivals that are not installed are named and left out; an engine that fails or disagrees stays in the report with the
reason. Nothing is left behind: models with random weights and exported ones live in a folder that goes at the end.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from npconv.api import AutoConfig
from npconv.backend import device_module
from npconv.bench import machine
from npconv.bench.architectures import ARCHITECTURES, write_random_model
from npconv.bench.comparison import add_ratios, means
from npconv.bench.contenders import npconv_engines, rivals
from npconv.bench.fresh import write_picture
from npconv.bench.trial import Progress, Settings, Subject, Trial
from npconv.errors import ConfigError, InputError
from npconv.files.disk import locate
from npconv.models.summary import layer_table

#: Of a batch of pictures: 400 MB, and the largest hidden maps are some times as large.
MOST_VALUES = 10**8


def measure(settings: Settings, progress: Progress = lambda text: None) -> dict[str, Any]:
    """Measure everything.

    Parameters
    ----------
    settings : Settings
    progress : callable
        Told what is being done, a line at a time.

    Returns
    -------
    dict
        ``machine``, ``settings``, ``sgemm`` (operations a second by threads, or of the device), ``engines``,
        ``models`` and ``means``. Seconds, bytes, and plain ratios. Memory is measured on the CPU only.

    Raises
    ------
    NpconvError
        If a model or rival is unknown, or the device is not there. What an engine does wrong is in the report.
    """
    device_module(settings.device)
    how = (settings.threads, settings.device)
    wanted = [*npconv_engines(*how), *rivals(settings.against, *how)]
    contenders = [contender for contender in wanted if not contender.missing]
    with tempfile.TemporaryDirectory(prefix="npconv-bench-") as name:
        folder = Path(name)
        write_picture(folder / "picture.png")
        subjects = [_subject(model, settings, folder) for model in settings.models]  # all first: names may be wrong
        progress("sgemm")
        report: dict[str, Any] = {
            "machine": machine.describe(settings.device),
            "settings": {**settings._asdict(), "models": list(settings.models), "batches": list(settings.batches)},
            "sgemm": _sgemm_peaks(settings),
            "engines": [contender.describe() for contender in wanted],
        }
        report["models"] = [Trial(subject, contenders, settings, progress).measure() for subject in subjects]
    add_ratios(report)
    report["means"] = means(report)
    return report


def _subject(name: str, settings: Settings, folder: Path) -> Subject:
    """Find a model, or write one with random weights; say what it is."""
    scratch = folder / f"model-{len(list(folder.iterdir()))}"
    scratch.mkdir()
    random = name in ARCHITECTURES
    if random:
        write_random_model(ARCHITECTURES[name](), scratch / "model")
    path = scratch / "model" if random else locate(name).absolute()
    config: Any = AutoConfig.from_pretrained(path)
    if config.num_labels == 0:
        raise ConfigError(f"{name}: expected a model with classes, got one with num_labels 0")
    given = config.image_size
    height, width = (settings.size,) * 2 if settings.size else given if isinstance(given, list) else (given, given)
    values = max(settings.batches) * config.num_channels * height * width
    if values > MOST_VALUES:
        raise InputError(
            f"expected at most {MOST_VALUES:,} values in a batch, got {values:,}; use a smaller --size or --batch"
        )
    rows = layer_table(config, height, width)
    facts = {
        "model": name,
        "random_weights": random,
        "size": [height, width],
        "parameters": sum(row.parameters for row in rows),
        "multiply_adds": sum(row.multiply_adds for row in rows),
    }
    return Subject(name, path, (config.num_channels, height, width), facts, scratch)


def _sgemm_peaks(settings: Settings) -> dict[str, float]:
    """Return the fastest matrix product on one thread and on all, or on the device, in operations a second."""
    if settings.device != "cpu":
        # Large enough to fill any GPU of today: 4 ms at 35 TFLOP/s.
        size = 256 if settings.quick else 4096
        return {settings.device: machine.sgemm_peak(settings.threads, size=size, calls=15, device=settings.device)}
    size, calls = (1024, 5) if settings.quick else (2048, 15)
    return {str(count): machine.sgemm_peak(count, size=size, calls=calls) for count in sorted({1, settings.threads})}
