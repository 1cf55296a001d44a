"""The features of photos: what a network that stays as it is makes of them, for a head to be fitted to.

One pass gives the features of every stage, as the classifier of a model would get them that ends there. They are kept
on disk by the hash of each photo and of all that made them, so a second run works out only those of new photos.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npconv.api import AutoConfig, pipeline
from npconv.api.extraction import pooled_features
from npconv.api.families import class_for
from npconv.errors import ImageError, InputError
from npconv.files.checkpoint import checkpoint_files
from npconv.files.disk import hash_file, locate
from npconv.hub.download import own_cache
from npconv.images import ConvNextImageProcessor
from npconv.images.decode import picture_name
from npconv.images.versions import library_versions
from npconv.messages import escape, why_failed
from npconv.models import PretrainedConfig, family_of
from npconv.training.feature_cache import FeatureCache
from npconv.training.photos import read_photo
from npconv.training.problems import Problem
from npconv.training.shortened import first_stages, stage_names
from npconv.training.tables import Rows, array_on_disk
from npconv.workers.batches import Work

#: What the file with the table is called.
TABLE_NAME = "features"


class Photo(NamedTuple):
    """A photo to work on: its place among all, and its bytes with their hash."""

    place: int
    digest: bytes
    content: bytes


class Result(NamedTuple):
    """What became of a photo: the features of all stages, one after another (D,), or why there are none."""

    place: int
    digest: bytes
    features: Any = None
    error: str = ""


@dataclass(frozen=True)
class Features:
    """The features of N photos.

    Attributes
    ----------
    table : np.ndarray, (N, D) float32
        Of all stages, one after another, perhaps in a file; rows of photos that could not be read are zeros.
    columns : dict
        How many stages -> the columns of the table that a model has as features that ends there.
    is_readable : np.ndarray, (N,) bool
        Whether a photo could be read.
    problems : tuple of Problem
        The photos that could not be read, and why.
    """

    table: np.ndarray
    columns: dict[int, slice]
    is_readable: np.ndarray
    problems: tuple[Problem, ...]

    @property
    def readable(self) -> np.ndarray:
        """The places of the photos that could be read."""
        return np.flatnonzero(self.is_readable)

    def rows(self, places: np.ndarray, stages: int | None = None) -> Rows:
        """Return the features of photos at some places (M,): of all stages, (M, D), or as `of_stages`; no copy."""
        return Rows(self.table, places, slice(None) if stages is None else self.columns[stages])

    def of_stages(self, stages: int, places: np.ndarray) -> np.ndarray:
        """Return the features of photos at some places (M,) for a model that ends after so many stages: (M, C)."""
        return self.rows(places, stages)[:]


class FeatureWork(Work[Photo, Result]):
    """Photos to the features of all stages; one that fails becomes a result with the reason.

    `max_memory` is what reading a photo may take, in bytes.
    """

    def __init__(self, load: Callable[[], Any], max_memory: int | None = None) -> None:
        super().__init__(load)
        self.max_memory = max_memory

    def prepare(self, tool: Any, item: Photo) -> np.ndarray:
        """Return the pixel values of a photo."""
        given = {} if self.max_memory is None else {"max_memory": self.max_memory}
        values: np.ndarray = tool.prepare(item.content, **given)
        return values

    def run(self, tool: Any, items: Sequence[Photo], arrays: Sequence[np.ndarray]) -> list[Result]:
        """Return the results of photos, given their pixel values."""
        with np.errstate(over="ignore", invalid="ignore"):  # what comes out as no numbers is reported below
            table = _features(tool, np.stack(arrays))
        flaws = ("" if np.isfinite(row).all() else tool.flaw(float("nan")) for row in table)
        # Copies, as each would keep the whole table in memory.
        rows = zip(items, table, flaws, strict=True)
        return [Result(item.place, item.digest, row.copy(), flaw) for item, row, flaw in rows]

    def failed(self, item: Photo, error: Exception) -> Result:
        """Return the result of a photo that failed."""
        name = picture_name(item.content)
        return Result(item.place, item.digest, error=why_failed(error, name))


def _features(tool: Any, pixel_values: np.ndarray) -> np.ndarray:
    """Return the features of all stages: (N, C, H, W) -> (N, D)."""
    output = tool.forward({"pixel_values": pixel_values})
    config = tool.model.config
    family = family_of(config).part("model")
    maps = output.hidden_states[-len(stage_names(config)) : -1]
    ends = [first_stages(config, count) for count in range(1, len(maps) + 1)]
    earlier = [family.pool_stage(x, config=end) for x, end in zip(maps, ends, strict=True) if end is not None]
    return np.concatenate([*earlier, pooled_features(output, tool.model)], axis=1, dtype=np.float32)


def work_out_features(
    files: Sequence[str],
    model: str | Path,
    *,
    processor: ConvNextImageProcessor,
    batch_size: int = 8,
    workers: int | Executor = 1,
    cache: bool = True,
    max_memory: int | None = None,
    folder: Path | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> Features:
    """Return the features of photos.

    Parameters
    ----------
    files : sequence of str
        N photos, as :func:`npconv.training.photos.read_photo` takes them.
    model : str or Path
        As of :func:`npconv.pipeline`.
    processor : ConvNextImageProcessor
        That makes the photos ready.
    batch_size, workers
        As of :func:`npconv.pipeline`.
    cache : bool
        Whether to take features from the cache, and to put new ones there.
    max_memory : int, optional
        What reading one photo may take, in bytes; see `open_image`.
    folder : Path, optional
        Where to put a file with the table, so that it need not fit into memory; memory alone holds it when unset.
    advance : callable
        Called with a number of photos when they are done.

    Returns
    -------
    Features

    Raises
    ------
    NpconvError
        If the model cannot be loaded, is none that can have a classifier, or the disk is full.
    """
    config = AutoConfig.from_pretrained(model)
    columns = _columns(config)
    width = max(each.stop for each in columns.values())
    path = _cache_path(model, config, processor) if cache else None
    shape = (len(files), width)
    table = np.zeros(shape, np.float32) if folder is None else array_on_disk(shape, np.float32, folder, name=TABLE_NAME)
    with FeatureCache(path, width) as known:
        gathering = _Gathering(files, table, known, advance)
        missing = gathering.missing()
        first = next(missing, None)
        if first is not None:  # else the model need not even be loaded
            with pipeline("image-feature-extraction", model, image_processor=processor, workers=workers) as tool:
                work = FeatureWork(tool.loader(), max_memory)
                items = chain([first], missing)
                with closing(work.share(items, batch_size=batch_size, executor=tool.executor())) as batches:
                    for batch in batches:
                        gathering.add(batch)
    return gathering.features(columns)


class _Gathering:
    """Features on their way into one table."""

    def __init__(
        self, files: Sequence[str], table: np.ndarray, known: FeatureCache, advance: Callable[[int], None]
    ) -> None:
        self.files, self.table, self.known, self.advance = files, table, known, advance
        self.is_readable = np.zeros(len(files), bool)
        self.problems: dict[int, Problem] = {}

    def missing(self) -> Iterator[Photo]:
        """Yield the photos whose features the cache has not; take those that it has."""
        for place, file in enumerate(self.files):
            try:
                content = read_photo(file)
            except ImageError as error:
                self.problems[place] = Problem("unreadable", file, why_failed(error, escape(file)))
                self.advance(1)
                continue
            digest = hashlib.sha256(content).digest()
            features = self.known.find(digest)
            if features is None:
                yield Photo(place, digest, content)
            else:
                self.table[place], self.is_readable[place] = features, True
                self.advance(1)

    def add(self, results: Sequence[Result]) -> None:
        """Take features that were worked out."""
        for place, digest, features, error in results:
            if error:
                self.problems[place] = Problem("unreadable", self.files[place], error)
            else:
                self.table[place], self.is_readable[place] = features, True
                self.known.add(digest, features)
        self.advance(len(results))

    def features(self, columns: dict[int, slice]) -> Features:
        """Return what there is."""
        problems = tuple(self.problems[place] for place in sorted(self.problems))
        return Features(self.table, columns, self.is_readable, problems)


def _columns(config: PretrainedConfig) -> dict[int, slice]:
    """Return which columns of the table are the features of each number of stages."""
    family = family_of(config)
    if "image_classification" not in family.tasks:
        raise InputError(f"expected a model that can have a classifier, got one of {family.title}")
    classes = class_for(family, "image_classification")
    columns, start = {}, 0
    for count in range(1, len(stage_names(config)) + 1):
        shortened = first_stages(config, count)
        if shortened is None:
            continue
        shapes = classes.parameter_shapes(shortened.from_dict(shortened.to_dict(), num_labels=1))
        stop = start + shapes["classifier.weight"][1]
        columns[count], start = slice(start, stop), stop
    return columns


def _cache_path(model: str | Path, config: PretrainedConfig, processor: ConvNextImageProcessor) -> Path:
    """Return the file with the features that this model makes of photos that this processor makes ready."""
    made_by = {
        "versions": library_versions(),
        "config": config.from_dict(config.to_dict(), num_labels=0).to_dict(),
        "processor": processor.to_dict(),
        "weights": [hash_file(file) for file in checkpoint_files(locate(model))],
    }
    key = hashlib.sha256(json.dumps(made_by, sort_keys=True, default=str).encode()).hexdigest()
    return own_cache() / "features" / f"{key[:32]}.npconv"
