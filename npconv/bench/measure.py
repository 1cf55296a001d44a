"""The whole of ``npconv bench``: settings in, one report out, as plain data that JSON can hold.

Each model is measured with all contenders: calls in turns, then fresh processes. One that fails is out for good.
Rivals that are not installed are named and left out; an engine that fails or disagrees stays in the report with the
reason. Nothing is left behind: models with random weights and exported ones live in a folder that goes at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from npconv.api import AutoConfig
from npconv.backend import device_module
from npconv.bench import machine
from npconv.bench.architectures import ARCHITECTURES, write_random_model
from npconv.bench.contenders import Contender, npconv_engines, rivals
from npconv.bench.figures import add_ratios, agrees, difference, means, median, quartiles
from npconv.bench.fresh import cold_start, peak_memory, write_picture
from npconv.bench.processes import OtherPrograms
from npconv.bench.remote import EngineError, RemoteEngine
from npconv.bench.turns import rotated, take_turns
from npconv.cores import available_cores
from npconv.errors import ConfigError, InputError, NpconvError
from npconv.files.disk import locate
from npconv.files.temporary import temporary_folder
from npconv.models.summary import layer_table

#: Of a batch of pictures: 400 MB, and the largest hidden maps are some times as large.
MOST_VALUES = 10**8

Progress = Callable[[str], None]


class Settings(NamedTuple):
    """What to measure."""

    models: Sequence[str] = tuple(ARCHITECTURES)  #: names in it, or what `npconv.files.disk.locate` finds
    against: Sequence[str] = ()  #: names in ``contenders.RIVALS``
    batches: Sequence[int] = (1, 8)  #: pictures in a call
    threads: int = 1  #: cores to use
    rounds: int = 10  #: turns of each engine
    size: int | None = None  #: height and width of the pictures; what each model was made for when unset
    quick: bool = False  #: take few and small measurements, to see that everything works
    device: str = "cpu"  #: or ``"cuda"``

    @property
    def fresh_starts(self) -> int:
        """Cold starts of each; one more comes before, to bring files into the system's cache."""
        return 1 if self.quick else 5


class Subject(NamedTuple):
    """A model to measure."""

    name: str
    path: Path  #: its folder or file
    picture_shape: tuple[int, int, int]  #: (C, H, W)
    facts: dict[str, Any]  #: what the report says of it
    scratch: Path  #: a folder for exports


@dataclass
class Trial:
    """All contenders on one model."""

    subject: Subject
    contenders: Sequence[Contender]
    settings: Settings
    progress: Progress  #: told what is being done
    failures: dict[str, str] = field(default_factory=dict)  #: why those are out who failed

    def measure(self) -> dict[str, Any]:
        """Return what a report says of the model."""
        for batch in sorted({1, *self.settings.batches}):  # a cold start runs one picture
            self._export(batch)
        self._tell("float64 truth")
        truth = self._truth(max(self.settings.batches))
        results = []
        with ExitStack() as stack:
            remotes: dict[str, RemoteEngine] = {}
            for contender in self._alive():
                with self._attempt(contender, f"loading {contender.name}"):
                    remote = stack.enter_context(RemoteEngine(contender.environment))
                    remote.load(contender.runner, self._job(contender))
                    remotes[contender.name] = remote
            for batch in self.settings.batches:
                results += self._measure_batch(batch, remotes, truth)
        fresh = self._measure_fresh()
        return {**self.subject.facts, "results": results, "fresh": fresh, "failures": self.failures}

    def _alive(self) -> list[Contender]:
        """Return who has not failed."""
        return [contender for contender in self.contenders if contender.name not in self.failures]

    @contextmanager
    def _attempt(self, contender: Contender, doing: str, batch: int | None = None) -> Iterator[None]:
        """Tell what is being done; note the failure of a contender and go on."""
        self._tell(doing, batch)
        try:
            yield
        except EngineError as failure:
            self.failures[contender.name] = str(failure)

    def _tell(self, doing: str, batch: int | None = None) -> None:
        """Tell what is being done to the model, with batches of a size."""
        self.progress(f"{self.subject.name}{'' if batch is None else f', batch {batch}'}: {doing}")

    def _job(self, contender: Contender) -> dict[str, Any]:
        """Return what a contender is told to load."""
        where = {"model": str(self.subject.path), "scratch": str(self.subject.scratch)}
        return {**where, "threads": contender.threads, "device": self.settings.device}

    def _shape(self, batch: int) -> list[int]:
        """Return the shape of a batch."""
        return [batch, *self.subject.picture_shape]

    def _export(self, batch: int) -> None:
        """Write the ONNX form of the model, if ONNX Runtime is to run it."""
        for contender in self._alive():
            if contender.runner == "onnxruntime":
                with (
                    self._attempt(contender, f"exporting to ONNX for batch {batch}"),
                    RemoteEngine(contender.environment) as remote,
                ):
                    remote.ask("export", job=self._job(contender), shape=self._shape(batch))

    def _truth(self, batch: int) -> list[list[float]]:
        """Return the logits of the explicit engine in float64."""
        contender = Contender("truth", "explicit", (), available_cores(), 1)
        try:
            with RemoteEngine(contender.environment) as remote:
                remote.load(contender.runner, {"model": str(self.subject.path), "dtype": "float64"})
                remote.ask("pictures", shape=self._shape(batch))
                return remote.ask("logits")["logits"]
        except EngineError as failure:
            raise NpconvError(
                f"{self.subject.name}: the explicit engine fails, so there is no truth: {failure}"
            ) from failure

    def _measure_batch(
        self, batch: int, remotes: Mapping[str, RemoteEngine], truth: list[list[float]]
    ) -> list[dict[str, Any]]:
        """Check and measure all that are alive on one batch size."""
        warm: dict[str, float] = {}
        differences: dict[str, float] = {}
        for contender in self._alive():
            name, remote = contender.name, remotes[contender.name]
            with self._attempt(contender, f"warming up {name}", batch):
                remote.ask("pictures", shape=self._shape(batch))
                differences[name] = difference(remote.ask("logits")["logits"], truth)
                warm[name] = median(remote.ask("run", calls=1)["seconds"])
        others = OtherPrograms()
        turns = take_turns(
            {name: remotes[name] for name in warm}, warm, self.settings.rounds, lambda text: self._tell(text, batch)
        )
        disturbed = others.cores()
        self.failures |= turns.failures
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

    def _measure_fresh(self) -> list[dict[str, Any]]:
        """Measure cold start, in turns, and peak memory for each batch size."""
        picture, shape = self.subject.scratch.parent / "picture.png", self.subject.picture_shape
        starts: dict[str, list[float]] = {contender.name: [] for contender in self.contenders}
        peaks: dict[str, dict[str, int | None]] = {contender.name: {} for contender in self.contenders}
        turns = self.settings.fresh_starts + 1
        for turn in range(turns):
            for contender in rotated(self._alive(), turn):
                with self._attempt(contender, f"cold start {turn + 1} of {turns}, {contender.name}"):
                    seconds = cold_start(contender, self._job(contender), picture, shape)
                    starts[contender.name].append(seconds)
        for batch in self.settings.batches if self.settings.device == "cpu" else ():  # a GPU's memory no system tells
            for contender in self._alive():
                with self._attempt(contender, f"memory of {contender.name}", batch):
                    peak = peak_memory(contender, self._job(contender), self._shape(batch))
                    peaks[contender.name][str(batch)] = peak
        return [
            {
                "engine": name,
                "cold_start": median(starts[name][1:]),
                "quartiles": list(quartiles(starts[name][1:])),
                "starts": starts[name][1:],
                "peak_bytes": peaks[name],
            }
            for name in (contender.name for contender in self._alive())
        ]


def measure(settings: Settings, progress: Progress = lambda text: None) -> dict[str, Any]:
    """Measure everything; `progress` is told what is being done, a line at a time.

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
    with temporary_folder() as folder:
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
