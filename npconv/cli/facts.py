"""What ``npconv info`` finds out about a model, before any of it is printed."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from npconv.api import AutoConfig, AutoImageProcessor
from npconv.api.sizes import input_size
from npconv.errors import ModelNotFoundError, NpconvError, WeightsError
from npconv.files.checkpoint import INDEX_FILE, SINGLE_FILE, checkpoint_files
from npconv.files.disk import SUFFIX, locate
from npconv.files.safetensors import read_header
from npconv.images import ConvNextImageProcessor
from npconv.messages import listed, quoted
from npconv.models import Family, PretrainedConfig, family_of
from npconv.models.parameters import is_buffer, match
from npconv.models.summary import LayerRow, layer_table

#: What a safetensors file calls the dtypes of weights, and what everybody else does.
DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class Problem(NamedTuple):
    """Why a part of the model cannot be shown: it is not there, or (`broken`) there and unusable."""

    reason: str
    broken: bool


class Weights(NamedTuple):
    """What the weight files say of themselves.

    `bytes` is the size of all `files`, `dtypes` counts parameters by dtype. Of the model's parameters, those in
    `missing` are not in the files; tensors in `unexpected` have no place in it.
    """

    files: list[str]
    bytes: int
    dtypes: dict[str, int]
    missing: Sequence[str]
    unexpected: Sequence[str]


class Facts(NamedTuple):
    """All that is known about a model."""

    name: str
    path: Path
    config: Any
    weights: Weights | Problem
    processor: ConvNextImageProcessor | Problem
    size: tuple[int, int]
    layers: list[LayerRow]

    @property
    def family(self) -> Family:
        """The model's family."""
        return family_of(self.config)

    @property
    def labels(self) -> list[str]:
        """The names of the classes, if the family classifies."""
        return list(self.config.id2label.values()) if "image_classification" in self.family.tasks else []

    @property
    def problems(self) -> list[Problem]:
        """The parts that cannot be shown."""
        return [part for part in (self.weights, self.processor) if isinstance(part, Problem)]


def gather(model: str, size: tuple[int, int] | None = None) -> Facts:
    """Find out what a model is, from its small files and the headers of the large ones.

    `size`, height and width of the picture for the layer table, is what the preprocessing makes when unset.
    """
    path = locate(model)
    config = AutoConfig.from_pretrained(path)
    processor = read_processor(path)
    size = size or input_size(config, None if isinstance(processor, Problem) else processor)
    return Facts(model, path, config, read_weights(path, config), processor, size, layer_table(config, *size))


def read_processor(path: Path) -> ConvNextImageProcessor | Problem:
    """Return a model's image processor, or why there is none."""
    folder = path if path.is_dir() else path.parent
    try:
        processor = AutoImageProcessor.from_pretrained(folder)
    except ModelNotFoundError:
        return Problem("no preprocessor_config.json; npconv classify needs one", broken=False)
    except NpconvError as error:
        return Problem(str(error), broken=True)
    try:
        processor.check_complete(processor.settings())
    except NpconvError as error:
        return Problem(f"preprocessor_config.json: {error}", broken=True)
    return processor


def read_weights(path: Path, config: PretrainedConfig) -> Weights | Problem:
    """Return what the headers of the weight files say; no tensor is read."""
    is_there = not path.is_dir() or any(os.path.lexists(path / name) for name in (SINGLE_FILE, INDEX_FILE))
    try:
        files = checkpoint_files(path)
        if strangers := [quoted(file.name) for file in files if not os.path.lexists(file)]:
            raise WeightsError(f"{INDEX_FILE} names {listed(strangers)}, expected {SUFFIX} files in its folder")
        entries = {name: entry for file in files for name, entry in read_header(file).entries.items()}
        total = sum(file.stat().st_size for file in files)
        family = family_of(config)
        shapes = getattr(family.part("model"), f"{family.main_task}_shapes")(config)
        _, report = match(entries, shapes, prefix=f"{family.base_model_prefix}.", strict=False)
    except (NpconvError, OSError) as error:
        return Problem(str(error), broken=is_there)
    dtypes: Counter[str] = Counter()
    for name, entry in entries.items():
        if not is_buffer(name):
            dtypes[DTYPE_NAMES.get(entry.dtype, entry.dtype)] += math.prod(entry.shape)
    return Weights([file.name for file in files], total, dict(dtypes.most_common()), report.missing, report.unexpected)
