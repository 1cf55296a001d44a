"""One model, measured with all contenders: calls in turns, then fresh processes. One that fails is out for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from npconv.bench.architectures import ARCHITECTURES
from npconv.bench.contenders import Contender
from npconv.bench.figures import agrees, difference, median, quartiles
from npconv.bench.fresh import cold_start, peak_memory
from npconv.bench.others import OtherPrograms
from npconv.bench.remote import EngineError, RemoteEngine
from npconv.bench.turns import rotated, take_turns
from npconv.cores import available_cores
from npconv.errors import NpconvError

Progress = Callable[[str], None]


class Settings(NamedTuple):
    """What to measure.

    Attributes
    ----------
    models : sequence of str
        Names in ``ARCHITECTURES``, or models as :func:`npconv.files.disk.locate` finds them.
    against : sequence of str
        Names in ``contenders.RIVALS``.
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
        """Cold starts of each; one more comes before, to bring files into the system's cache."""
        return 1 if self.quick else 5


class Subject(NamedTuple):
    """A model to measure: its name, folder or file, shape of a picture (C, H, W), facts, and a folder for exports."""

    name: str
    path: Path
    picture_shape: tuple[int, int, int]
    facts: dict[str, Any]
    scratch: Path


@dataclass
class Trial:
    """All contenders on one model.

    Parameters
    ----------
    subject : Subject
    contenders : sequence of Contender
    settings : Settings
    progress : callable
        Told what is being done.
    failures : dict of str to str
        Why those are out who failed.
    """

    subject: Subject
    contenders: Sequence[Contender]
    settings: Settings
    progress: Progress
    failures: dict[str, str] = field(default_factory=dict)

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

    def _alive(self, batch: int | None = None) -> list[Contender]:
        """Return who has not failed; given a batch, for whom it is work."""
        alive = [contender for contender in self.contenders if contender.name not in self.failures]
        return [contender for contender in alive if batch is None or batch >= contender.least_batch]

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
        for contender in self._alive(batch):
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
            for contender in self._alive(batch):
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
