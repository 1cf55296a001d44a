"""The whole of ``npconv bench``: settings in, one report out, as plain data that JSON can hold.

Rivals that are not installed are named and left out; an engine that fails or disagrees stays in the report with the
reason. Nothing is left behind: models with random weights and exported ones live in a folder that goes at the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from npconv.api import AutoConfig
from npconv.backend import device_module
from npconv.bench import machine
from npconv.bench.architectures import ARCHITECTURES, write_random_model
from npconv.bench.comparison import add_ratios, means
from npconv.bench.engines import Engine, missing_modules, npconv_engines, rivals, versions
from npconv.bench.figures import agrees, difference, median, quartiles
from npconv.bench.fresh import cold_start, peak_memory, write_picture
from npconv.bench.others import OtherPrograms
from npconv.bench.remote import EngineError, RemoteEngine
from npconv.bench.turns import rotated, take_turns
from npconv.cores import available_cores
from npconv.errors import ConfigError, InputError, NpconvError
from npconv.files.locate import locate
from npconv.models.summary import layer_table

Progress = Callable[[str], None]


#: Of a batch of pictures: 400 MB, and the largest hidden maps are some times as large.
MOST_VALUES = 10**8


class Settings(NamedTuple):
    """What to measure.

    Attributes
    ----------
    models : sequence of str
        Names in ``ARCHITECTURES``, or models as :func:`npconv.files.locate` finds them.
    against : sequence of str
        Names in ``engines.RIVALS``.
    batches : sequence of int
        Pictures in a call.
    threads : int
        Cores to use.
    rounds : int
        Turns of each engine.
    size : int, optional
        Height and width of the pictures; what each model was made for when unset.
    quick : bool
        Take few and small measurements, to see that everything works.
    device : str
        ``"cpu"`` or ``"cuda"``.
    """

    models: Sequence[str] = tuple(ARCHITECTURES)
    against: Sequence[str] = ()
    batches: Sequence[int] = (1, 8)
    threads: int = 1
    rounds: int = 10
    size: int | None = None
    quick: bool = False
    device: str = "cpu"

    @property
    def fresh_starts(self) -> int:
        """Cold starts of each engine; one more comes before, to bring files into the system's cache."""
        return 1 if self.quick else 5


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
    missing = {engine.name: missing_modules(engine) for engine in wanted}
    engines = [engine for engine in wanted if not missing[engine.name]]
    with tempfile.TemporaryDirectory(prefix="npconv-bench-") as name:
        folder = Path(name)
        write_picture(folder / "picture.png")
        subjects = [_subject(model, settings, folder) for model in settings.models]  # all first: names may be wrong
        progress("sgemm")
        report: dict[str, Any] = {
            "machine": machine.describe(settings.device),
            "settings": {**settings._asdict(), "models": list(settings.models), "batches": list(settings.batches)},
            "sgemm": _sgemm_peaks(settings),
            "engines": [_describe_engine(engine, missing[engine.name]) for engine in wanted],
        }
        report["models"] = [_measure_model(subject, engines, settings, progress) for subject in subjects]
    add_ratios(report)
    report["means"] = means(report)
    return report


class Subject(NamedTuple):
    """A model to measure: its name, folder or file, shape of a picture (C, H, W), facts, device, folder for exports."""

    name: str
    path: Path
    picture_shape: tuple[int, int, int]
    facts: dict[str, Any]
    device: str
    scratch: Path

    def job(self, engine: Engine) -> dict[str, Any]:
        """Return what an engine is told to load."""
        return {
            **{"model": str(self.path), "threads": engine.threads},
            **{"scratch": str(self.scratch), "device": self.device},
        }


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
    return Subject(name, path, (config.num_channels, height, width), facts, settings.device, scratch)


def _sgemm_peaks(settings: Settings) -> dict[str, float]:
    """Return the fastest matrix product on one thread and on all, or on the device, in operations a second."""
    if settings.device != "cpu":
        # Large enough to fill any GPU of today: 4 ms at 35 TFLOP/s.
        size = 256 if settings.quick else 4096
        return {settings.device: machine.sgemm_peak(settings.threads, size=size, calls=15, device=settings.device)}
    size, calls = (1024, 5) if settings.quick else (2048, 15)
    return {str(count): machine.sgemm_peak(count, size=size, calls=calls) for count in sorted({1, settings.threads})}


def _describe_engine(engine: Engine, missing: list[str]) -> dict[str, Any]:
    """Return what the report says of an engine, whether it is there or not."""
    return {
        "engine": engine.name,
        "rival": engine.rival,
        "threads": max(engine.threads, engine.blas_threads),
        "missing": missing,
        "versions": versions(engine),
    }


def _measure_model(subject: Subject, engines: list[Engine], settings: Settings, progress: Progress) -> dict[str, Any]:
    """Measure one model: calls in turns, then fresh processes."""
    failures: dict[str, str] = {}
    for batch in sorted({1, *settings.batches}):  # a cold start runs one picture
        _export(subject, engines, batch, failures, progress)
    progress(f"{subject.name}: float64 truth")
    truth = _truth(subject, max(settings.batches))
    results = []
    with ExitStack() as stack:
        remotes: dict[str, RemoteEngine] = {}
        for engine in engines:
            progress(f"{subject.name}: loading {engine.name}")
            if engine.name not in failures:
                remote = stack.enter_context(RemoteEngine(engine.environment))
                with _failing_into(failures, engine.name):
                    remote.ask("load", runner=engine.runner, job=subject.job(engine))
                    remotes[engine.name] = remote
        for batch in settings.batches:
            told = _told(progress, f"{subject.name}, batch {batch}")
            used = {
                engine.name: remotes[engine.name]
                for engine in engines
                if batch >= engine.least_batch and engine.name in remotes
            }
            results += _measure_batch(subject, batch, used, truth, settings, failures, told)
    return {
        **subject.facts,
        "results": results,
        "fresh": _measure_fresh(subject, engines, settings, failures, progress),
        "failures": failures,
    }


def _told(progress: Progress, place: str) -> Progress:
    """Return a progress that says where."""
    return lambda text: progress(f"{place}: {text}")


def _export(subject: Subject, engines: list[Engine], batch: int, failures: dict[str, str], progress: Progress) -> None:
    """Write the ONNX form of a model, if ONNX Runtime is to run it."""
    for engine in engines:
        if engine.runner == "onnxruntime" and engine.name not in failures:
            progress(f"{subject.name}: exporting to ONNX for batch {batch}")
            with _failing_into(failures, engine.name), RemoteEngine(engine.environment) as remote:
                remote.ask("export", job=subject.job(engine), shape=[batch, *subject.picture_shape])


def _truth(subject: Subject, batch: int) -> list[list[float]]:
    """Return the logits of the explicit engine in float64."""
    engine = Engine("truth", "explicit", (), available_cores(), 1, False)
    try:
        with RemoteEngine(engine.environment) as remote:
            remote.ask("load", runner=engine.runner, job={"model": str(subject.path), "dtype": "float64"})
            remote.ask("pictures", shape=[batch, *subject.picture_shape])
            return remote.ask("logits")["logits"]
    except EngineError as failure:
        raise NpconvError(f"{subject.name}: the explicit engine fails, so there is no truth: {failure}") from failure


def _measure_batch(
    subject: Subject,
    batch: int,
    remotes: dict[str, RemoteEngine],
    truth: list[list[float]],
    settings: Settings,
    failures: dict[str, str],
    progress: Progress,
) -> list[dict[str, Any]]:
    """Check and measure all engines that are alive on one batch size; a failure takes the engine out for good."""
    alive = {name: remote for name, remote in remotes.items() if name not in failures}
    warm: dict[str, float] = {}
    differences: dict[str, float] = {}
    for name, remote in alive.items():
        progress(f"warming up {name}")
        with _failing_into(failures, name):
            remote.ask("pictures", shape=[batch, *subject.picture_shape])
            differences[name] = difference(remote.ask("logits")["logits"], truth)
            warm[name] = median(remote.ask("run", calls=1)["seconds"])
    alive = {name: remote for name, remote in alive.items() if name in warm}
    others = OtherPrograms()
    turns = take_turns(alive, warm, settings.rounds, progress)
    disturbed = others.cores()
    failures |= turns.failures
    return [
        {
            "engine": name,
            "batch": batch,
            "seconds": median(list(times.values())),
            "quartiles": list(quartiles(list(times.values()))),
            "best": turns.best[name],
            "rounds": list(times),
            "times": list(times.values()),
            "difference": differences[name],
            "agrees": agrees(differences[name]),
            "restless": name in turns.restless,
            "others": disturbed,
        }
        for name, times in turns.times.items()
        if times
    ]


def _measure_fresh(
    subject: Subject, engines: list[Engine], settings: Settings, failures: dict[str, str], progress: Progress
) -> list[dict[str, Any]]:
    """Measure cold start, the engines in turns, and peak memory for each batch size."""
    picture = subject.scratch.parent / "picture.png"
    starts: dict[str, list[float]] = {engine.name: [] for engine in engines}
    peaks: dict[str, dict[str, int | None]] = {engine.name: {} for engine in engines}
    for turn in range(settings.fresh_starts + 1):
        for engine in rotated(engines, turn):
            if engine.name not in failures:
                progress(f"{subject.name}: cold start {turn + 1} of {settings.fresh_starts + 1}, {engine.name}")
                with _failing_into(failures, engine.name):
                    seconds = cold_start(engine, subject.job(engine), picture, subject.picture_shape)
                    starts[engine.name].append(seconds)
    for batch in settings.batches if settings.device == "cpu" else ():  # of a GPU's memory the system tells nothing
        for engine in engines:
            if engine.name not in failures and batch >= engine.least_batch:
                progress(f"{subject.name}, batch {batch}: memory of {engine.name}")
                with _failing_into(failures, engine.name):
                    shape = [batch, *subject.picture_shape]
                    peaks[engine.name][str(batch)] = peak_memory(engine, subject.job(engine), shape)
    return [
        {
            "engine": engine.name,
            "cold_start": median(starts[engine.name][1:]),
            "quartiles": list(quartiles(starts[engine.name][1:])),
            "starts": starts[engine.name][1:],
            "peak_bytes": peaks[engine.name],
        }
        for engine in engines
        if engine.name not in failures
    ]


@contextmanager
def _failing_into(failures: dict[str, str], name: str) -> Iterator[None]:
    """Note the failure of an engine under its name and go on."""
    try:
        yield
    except EngineError as failure:
        failures[name] = str(failure)
