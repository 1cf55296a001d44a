"""Whether a folder is the model that it says: hashes, number of parameters, strict loading, published logits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npconv.convert.source import given_path, said_names
from npconv.convert.writing import MANIFEST, read_manifest
from npconv.errors import InputError, ModelNotFoundError, NpconvError
from npconv.files.checkpoint import is_plain_name, load_checkpoint
from npconv.files.disk import hash_file
from npconv.images import open_image
from npconv.images.settings import FILE_NAME
from npconv.messages import listed, quoted
from npconv.models import FAMILIES, find_family
from npconv.models.configuration import read_config_in
from npconv.models.parameters import Shapes, count_parameters, match, nest
from npconv.models.processors import load_processor
from npconv.models.publishing import IMAGENET_1K, Architecture, Logits, find_architecture, size_fields

OK, FAILED, UNCHECKED = "ok", "failed", "could not be checked"


#: How far logits may be from the published ones, as in the tests of transformers.
LOGITS_TOLERANCE = 2e-4


def published_logits() -> dict[str, Logits]:
    """Return the logits that are published, by the name of the checkpoint."""
    return {logits.name: logits for family in FAMILIES.values() for logits in family.part("published").LOGITS}


class Check(NamedTuple):
    """One check: what, how it ended (`OK`, `FAILED` or `UNCHECKED`), and the evidence or the reason."""

    name: str
    outcome: str
    detail: str


def verify(
    directory: str | os.PathLike[str], *, picture: str | os.PathLike[str] | None = None, name: str | None = None
) -> list[Check]:
    """Check a converted or downloaded model in every way that there is evidence for.

    Parameters
    ----------
    directory : str or path
        In Hugging Face layout.
    picture : str or path, optional
        The picture 000000039769 of COCO (two cats), for which logits are published.
    name : str, optional
        Of the checkpoint, such as ``"facebook/convnext-tiny-224"``, where the folder does not say it.

    Returns
    -------
    list of Check

    Raises
    ------
    InputError
        If there is no such folder, or no logits are published for `name`.
    ImageError
        If the picture cannot be read.
    """
    folder = given_path(directory, "a folder in Hugging Face layout")
    known = published_logits()
    if name is not None and name not in known:
        raise InputError(f"expected the name of a checkpoint with published logits: {', '.join(known)}; got {name}")
    opened = None if picture is None else open_image(picture)
    if not folder.is_dir():
        raise InputError(f"expected a folder in Hugging Face layout, but {quoted(folder)} is none")
    checks = [_guarded("hashes", _hashes, folder)]
    try:
        fields = read_config_in(folder)
        config = find_family(fields.get("model_type")).config_class.from_dict(fields)
    except NpconvError as error:
        return [*checks, Check("configuration", FAILED, str(error))]
    checks.append(Check("configuration", OK, f"a {config.model_type} with {config.num_labels} classes"))
    checks.append(_guarded("tensors", _tensors, folder, config))
    checks.append(_guarded("parameter count", _parameters, config))
    checks.append(_guarded("numbers", _numbers, folder))
    checks.append(_guarded("preprocessing", _preprocessing, folder))
    checks.append(_guarded("published logits", _logits, folder, config, opened, name))
    return checks


def _guarded(name: str, check: Any, *arguments: Any) -> Check:
    """Return the result of a check; what is wrong with the files is a failure of it."""
    try:
        outcome, detail = check(*arguments)
    except NpconvError as error:
        outcome, detail = FAILED, str(error)
    return Check(name, outcome, detail)


def _hashes(folder: Path) -> tuple[str, str]:
    """Compare every file with the manifest."""
    if not os.path.lexists(folder / MANIFEST):
        return UNCHECKED, f"there is no {MANIFEST}, which convert writes"
    files = read_manifest(folder).get("files")
    if not isinstance(files, dict) or not files or not all(is_plain_name(str(name)) for name in files):
        return FAILED, f"{MANIFEST} has no list of files"
    lacking = [name for name in files if not os.path.isfile(folder / name)]
    if lacking:
        return FAILED, f"lacking: {listed([quoted(name) for name in lacking])}"
    changed = [name for name, digest in files.items() if hash_file(folder / name) != digest]
    if changed:
        return FAILED, f"changed since the conversion: {listed([quoted(name) for name in changed])}"
    return OK, f"SHA-256 of {len(files)} files as in {MANIFEST}"


def _task(config: Any) -> str:
    """Return the task that the weights are for."""
    family = find_family(config.model_type)
    return next(
        (task for task, name in family.class_names.items() if name in (config.architectures or ())), family.main_task
    )


def _shapes(config: Any) -> Shapes:
    """Return the shapes of the model's parameters."""
    return getattr(find_family(config.model_type).part("model"), f"{_task(config)}_shapes")(config)


def _tensors(folder: Path, config: Any) -> tuple[str, str]:
    """Match names and shapes: every tensor used once, every parameter filled once."""
    stored = load_checkpoint(folder, lazy=True)
    shapes = _shapes(config)
    match(stored, shapes, prefix=f"{find_family(config.model_type).base_model_prefix}.")
    return OK, f"{len(shapes)} parameters filled once each, nothing left over"


def _published(config: Any) -> Architecture | None:
    """Return the published architecture of a model; None if there is none, or the model has what it has not."""
    return None if _added(config) else find_architecture(config.model_type, config.to_dict())


def _added(config: Any) -> list[str]:
    """Return the fields that published models do not have."""
    return [f"{name} {value}" for name, value in config.to_dict().items() if name in config.added_fields]


def _parameters(config: Any) -> tuple[str, str]:
    """Compare the number of parameters with the table of published models."""
    published = _published(config)
    if published is None:
        model = " with ".join([config.model_type, *_added(config)])
        size = " and ".join(
            f"{name} {value}" for name, value in size_fields(config.model_type, config.to_dict()).items()
        )
        return UNCHECKED, f"no {model} of {size} is in the table"
    classes = config.num_labels if _task(config) == "image_classification" else 0
    if published.classes and not classes:
        return UNCHECKED, "there is no classifier, and the table is of models with one"
    expected, count = published.count(classes), count_parameters(_shapes(config))
    with_classes = f" with {classes} classes" if classes else ""
    if count != expected:
        return FAILED, f"{count:,}, but the published model has {expected:,}{with_classes}"
    return OK, f"{count:,}, as the published model has{with_classes}"


def _numbers(folder: Path) -> tuple[str, str]:
    """Look for NaN and infinities."""
    wrong, total = {}, 0
    for name, tensor in load_checkpoint(folder, lazy=True).items():
        values = np.asarray(tensor)
        total += values.size
        if values.dtype.kind == "f" and (count := values.size - int(np.count_nonzero(np.isfinite(values)))):
            wrong[name] = count
    if wrong:
        return FAILED, "NaN or infinity: " + listed([f"{count} in {name}" for name, count in wrong.items()])
    return OK, f"all {total:,} are finite"


def _preprocessing(folder: Path) -> tuple[str, str]:
    """Read the image processor."""
    try:
        processor = load_processor(folder)
    except ModelNotFoundError:
        return UNCHECKED, f"there is no {FILE_NAME}"
    return OK, f"size {processor.size}, crop_pct {processor.crop_pct:g}, mean {processor.image_mean}"


def _logits(folder: Path, config: Any, picture: Any, given: str | None) -> tuple[str, str]:
    """Compare the logits of the picture with the published ones."""
    known = published_logits()
    said = (given, *said_names(folder, config.to_dict()), "/".join(folder.absolute().parts[-2:]))
    named = next((name for name in said if name in known), None)
    own = _published(config) if config.num_labels == IMAGENET_1K else None
    candidate = named or next((logits.name for logits in known.values() if logits.architecture is own), None)
    if candidate is None:
        return UNCHECKED, f"none are known for this model, only for {', '.join(known)}"
    if picture is None:
        return UNCHECKED, f"no picture is given; there are logits of {candidate} for the two cats: --picture takes them"
    logits = known[candidate]
    act = logits.fields.get("hidden_act", config.hidden_act)
    found = _run(folder, picture, logits.fields)
    shown = ", ".join(f"{value:.4f}" for value in found)
    if act != config.hidden_act:
        shown += f" with {act} in the place of this model's {config.hidden_act}, as the published ones were computed"
    away = {rule: float(np.abs(found - values).max()) for rule, values in logits.values.items()}
    rule = min(away, key=lambda rule: away[rule])
    if away[rule] <= LOGITS_TOLERANCE:
        return OK, f"{shown}: {away[rule]:.1e} from those of {candidate} with the resizing of {rule}"
    detail = f"{shown}: {away[rule]:.1e} from those of {candidate} ({LOGITS_TOLERANCE:g} allowed)"
    if named is None:
        return UNCHECKED, f"{detail}; the architecture is the same, but nothing says that these are its weights: --name"
    return FAILED, f"{detail}; is it the picture 000000039769 of COCO, and are these its weights?"


def _run(folder: Path, picture: Any, fields: Mapping[str, Any]) -> np.ndarray:
    """Return the first three logits of a picture, in float32, with other fields of the configuration."""
    stated = read_config_in(folder)
    family = find_family(stated.get("model_type"))
    config, module = family.config_class.from_dict(stated, **fields), family.part("model")
    shapes = module.image_classification_shapes(config)
    stored, _ = match(load_checkpoint(folder), shapes, prefix=f"{family.base_model_prefix}.")
    floats = {name: np.asarray(x, None if x.dtype.kind == "i" else np.float32) for name, x in stored.items()}
    params = nest(floats)
    pixels = load_processor(folder)(picture)["pixel_values"]
    logits, _ = module.image_classification(np.asarray(pixels, np.float32), **params, config=config)
    return np.asarray(logits)[0, :3]
