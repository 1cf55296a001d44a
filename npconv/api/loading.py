"""What a file of weights must be for a model to be loaded of it, and what is said of one that is not."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.backend import array_module, to_host
from npconv.errors import InputError, MisfitError, NpconvWarning, WeightsError
from npconv.files.checkpoint import load_checkpoint
from npconv.files.dtypes import DeferredArray
from npconv.files.loading_arguments import Origin, refuse_unknown
from npconv.messages import listed
from npconv.models import PretrainedConfig
from npconv.models.configuration import read_config_file, read_config_in
from npconv.models.parameters import (
    LoadReport,
    NamesMisfitError,
    Shapes,
    ShapesMisfitError,
    is_buffer,
    match,
    random_parameters,
)

if TYPE_CHECKING:
    from npconv.api.base import PreTrainedModel


def choose_config(
    kind: type[PreTrainedModel],
    name: Any,
    path: Path,
    given: PretrainedConfig | str | Path | None,
    origin: Origin,
    overrides: Mapping[str, Any],
) -> PretrainedConfig:
    """Return the configuration of a model of some class: the one that is `given` or named, else its own.

    `overrides` replace fields, but not those of one that is given; what is no field is an unknown argument.
    """
    if isinstance(given, PretrainedConfig):
        fields = given.to_dict()
    elif given is not None:
        fields = read_config_file(given, origin)
    else:
        fields = read_config_in(path if path.is_dir() else path.parent)
    maker = f"{kind.__name__}.from_pretrained"
    known = {*kind.config_class.known_fields(fields), *inspect.signature(kind.from_pretrained).parameters}
    refuse_unknown(overrides, known, maker, f"a field of {kind.config_class.__name__}")
    if not isinstance(given, PretrainedConfig):
        return kind.config_class.from_file_fields(fields, overrides, maker, name)
    if overrides:
        raise InputError(f"expected a config or its fields, got both: {', '.join(overrides)}; set them in the config")
    return given


def load_tensors(
    kind: type[PreTrainedModel], path: Path, config: PretrainedConfig, strict: bool, ignore_mismatched_sizes: bool
) -> tuple[dict[str, Any], LoadReport]:
    """Return the parameters of a model of some class from a checkpoint, and what did not fit."""
    shapes = kind.parameter_shapes(config)
    stored = dict(load_checkpoint(path, lazy=True))
    untrained = [name for name in shapes if kind.never_published and name.startswith(kind.never_published)]
    untrained = [name for name in untrained if name not in stored]
    not_chosen = [f"{kind.never_published}*"] if kind.never_published else []  # of stages that a file was saved with
    ignored = [*kind.family.part("model").OF_OTHER_TASKS[kind.task], *not_chosen]
    try:
        tensors, report = match(
            {**stored, **_first_values(untrained, shapes, config)},
            shapes,
            prefix=f"{kind.base_model_prefix}.",
            ignore=[*ignored, *(f"{kind.base_model_prefix}.{pattern}" for pattern in ignored)],
            strict=strict,
            head=kind.family.part("model").OF_OTHER_TASKS["model"],
            ignore_mismatched_sizes=ignore_mismatched_sizes,
        )
    except NamesMisfitError as error:
        raise MisfitError(_with_way_out(path, stored, error)) from None
    except ShapesMisfitError as error:
        raise MisfitError(f"{error} ignore_mismatched_sizes=True puts new ones in their place") from None
    if report.unexpected and (reason := _what_else(stored)):  # their numbers are not the weights
        raise WeightsError(reason)
    tensors |= _first_values([*report.missing, *(name for name, *_ in report.mismatched)], shapes, config)
    return tensors, report._replace(missing=(*untrained, *report.missing))


def decoded(tensor: Any) -> Any:
    """Return a tensor as an array."""
    return np.asarray(tensor) if isinstance(tensor, DeferredArray) else tensor


def check_dtypes(tensors: Mapping[str, Any]) -> None:
    """Refuse tensors of another framework, and parameters that are no floating-point numbers."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, DeferredArray):
            array_module(tensor)
        if tensor.dtype.kind != "f" and not name.endswith("num_batches_tracked"):
            raise WeightsError(
                f"expected floating-point numbers for {name}, got {tensor.dtype}: quantised weights mean nothing "
                "without their scales; take the weights as they were before quantisation"
            )


def _first_values(names: Collection[str], shapes: Shapes, config: PretrainedConfig) -> dict[str, np.ndarray]:
    """Return the first values of some of the parameters."""
    wanted = set(names)
    return {name: value for name, value in random_parameters(shapes, config, 0) if name in wanted} if wanted else {}


def dtype_of(tensors: Mapping[str, Any]) -> np.dtype:
    """Return the widest floating dtype of the tensors."""
    return np.result_type(*(array.dtype for name, array in tensors.items() if not is_buffer(name)))


def _what_else(stored: Mapping[str, Any]) -> str:
    """Return what a file holds in the place of weights; an empty text if nothing says so."""
    from npconv.convert.strangers import what_else  # only here: most files fit

    return what_else(stored)


def _with_way_out(path: Path, stored: Mapping[str, Any], error: NamesMisfitError) -> str:
    """Return why a file does not fit, and what to do: what it is, or that `npconv convert` understands it."""
    import shlex

    from npconv.convert.translate import detect, to_hugging_face

    if reason := _what_else(stored):
        return f"{error.found}; {reason}"
    if error.is_head_only:
        return str(error)
    try:
        renamed = to_hugging_face(stored, detect(stored))
    except WeightsError:
        renamed = {}
    if not renamed or renamed.keys() == stored.keys():
        return f"{error}; does the configuration belong to these weights?"
    return f"{error}; they are named as elsewhere: npconv convert {shlex.quote(str(path))} FOLDER names them anew"


def count_not_finite(tensors: Mapping[str, Any]) -> dict[str, int]:
    """Return the names of tensors with NaN or infinities, and how many."""
    found = {}
    for name, tensor in tensors.items():
        values = to_host(decoded(tensor))
        if values.dtype.kind == "f" and (lost := values.size - np.count_nonzero(np.isfinite(values))):
            found[name] = int(lost)
    return found


def warn_not_finite(tensors: Mapping[str, Any]) -> None:
    """Name the tensors with NaN or infinities: what is computed with them means nothing."""
    if found := count_not_finite(tensors):
        places = listed([f"{count} in {name}" for name, count in found.items()])
        warnings.warn(f"the weights hold NaN or infinity: {places}; take another file", NpconvWarning, stacklevel=3)


def warn_misfit(name: str, report: LoadReport) -> None:
    """Say what was missing and what was left out."""
    if report.missing:
        warnings.warn(
            f"{name}: not in the file, so at their first values and never trained: {listed(report.missing)}",
            NpconvWarning,
            stacklevel=3,
        )
    if report.mismatched:
        places = [f"{parameter} ({stored} there, {wanted} here)" for parameter, stored, wanted in report.mismatched]
        warnings.warn(
            f"{name}: of another shape in the file, so at their first values and never trained: {listed(places)}",
            NpconvWarning,
            stacklevel=3,
        )
    if report.unexpected:
        warnings.warn(f"{name}: in the file and left out: {listed(report.unexpected)}", NpconvWarning, stacklevel=3)


def loading_info(report: LoadReport) -> dict[str, Any]:
    """Return what did not fit under the names of transformers."""
    return {
        "missing_keys": set(report.missing),
        "unexpected_keys": set(report.unexpected),
        "mismatched_keys": set(report.mismatched),
        "error_msgs": [],
    }
