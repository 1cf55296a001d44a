"""Whether a folder is the model that it says: hashes, number of parameters, strict loading, published logits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npconv.convert.architectures import depths_and_widths
from npconv.convert.known import CHECKPOINTS, LOGITS, LOGITS_TOLERANCE, Key, expected_parameters
from npconv.convert.manifest import MANIFEST, read_manifest
from npconv.convert.source import given_path
from npconv.errors import InputError, NpconvError
from npconv.files.checkpoint import is_plain_file_name, load_checkpoint
from npconv.files.disk import hash_file
from npconv.messages import listed, quoted
from npconv.models.convnext.configuration import ADDED_FIELDS
from npconv.models.match import match
from npconv.models.parameters import count_parameters

OK, FAILED, UNCHECKED = "ok", "failed", "could not be checked"


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
    from npconv.api import AutoConfig
    from npconv.images import open_image

    folder = given_path(directory, "a folder in Hugging Face layout")
    if name is not None and name not in LOGITS:
        raise InputError(f"expected the name of a checkpoint with published logits: {', '.join(LOGITS)}; got {name}")
    opened = None if picture is None else open_image(picture)
    if not folder.is_dir():
        raise InputError(f"expected a folder in Hugging Face layout, but {quoted(folder)} is none")
    checks = [_guarded("hashes", _hashes, folder)]
    try:
        config: Any = AutoConfig.from_pretrained(folder)
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
    if not isinstance(files, dict) or not files or not all(is_plain_file_name(str(name)) for name in files):
        return FAILED, f"{MANIFEST} has no list of files"
    lacking = [name for name in files if not os.path.isfile(folder / name)]
    if lacking:
        return FAILED, f"lacking: {listed([quoted(name) for name in lacking])}"
    changed = [name for name, digest in files.items() if hash_file(folder / name) != digest]
    if changed:
        return FAILED, f"changed since the conversion: {listed([quoted(name) for name in changed])}"
    return OK, f"SHA-256 of {len(files)} files as in {MANIFEST}"


def _model_class(config: Any) -> Any:
    """Return the class that the weights are of."""
    from npconv import api

    names = config.architectures or []
    found = getattr(api, names[0], None) if names else None
    return found if found is not None else api.AutoModelForImageClassification._choose(config)


def _shapes(config: Any) -> Mapping[str, tuple[int, ...]]:
    return _model_class(config).parameter_shapes(config)


def _tensors(folder: Path, config: Any) -> tuple[str, str]:
    """Match names and shapes: every tensor used once, every parameter filled once."""
    stored = load_checkpoint(folder, lazy=True)
    shapes = _shapes(config)
    match(stored, shapes, prefix=f"{config.model_type}.", strict=True)
    return OK, f"{len(shapes)} parameters filled once each, nothing left over"


def _key(config: Any) -> Key:
    """Return what the tables of published models are ordered by."""
    fields = config.to_dict()
    depths, widths = depths_and_widths(fields)
    added = [f"{name} {fields[name]}" for name in ADDED_FIELDS if name in fields]
    return " with ".join([config.model_type, *added]), tuple(depths), tuple(widths)


def _parameters(config: Any) -> tuple[str, str]:
    """Compare the number of parameters with the table of published models."""
    family, depths, widths = key = _key(config)
    if not config.num_labels:
        return UNCHECKED, "there is no classifier, and the table is of models with one"
    expected = expected_parameters(key, config.num_labels)
    if expected is None:
        return UNCHECKED, f"no {family} of depths {list(depths)} and widths {list(widths)} is in the table"
    count = count_parameters(dict(_shapes(config)))
    if count != expected:
        return FAILED, f"{count:,}, but the published model has {expected:,} with {config.num_labels} classes"
    return OK, f"{count:,}, as the published model has with {config.num_labels} classes"


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
    from npconv.api import AutoImageProcessor
    from npconv.errors import ModelNotFoundError

    try:
        processor = AutoImageProcessor.from_pretrained(folder)
    except ModelNotFoundError:
        return UNCHECKED, "there is no preprocessor_config.json"
    return OK, f"size {processor.size}, crop_pct {processor.crop_pct:g}, mean {processor.image_mean}"


def _names(folder: Path, config: Any) -> Iterator[str]:
    """Yield what the folder says of its name."""
    if os.path.lexists(folder / MANIFEST):
        source = read_manifest(folder).get("source")
        yield str(source.get("name")) if isinstance(source, dict) else ""
    yield str(config.to_dict().get("_name_or_path"))
    yield "/".join(folder.absolute().parts[-2:])
    for part in folder.absolute().parts:
        if part.startswith("models--"):
            yield part.removeprefix("models--").replace("--", "/")


def _logits(folder: Path, config: Any, picture: Any, given: str | None) -> tuple[str, str]:
    """Compare the logits of the picture with the published ones."""
    named = given or next((name for name in _names(folder, config) if name in LOGITS), None)
    candidate = named or (CHECKPOINTS.get(_key(config)) if config.num_labels == 1000 else None)
    if candidate is None:
        return UNCHECKED, f"none are known for this model, only for {', '.join(LOGITS)}"
    if picture is None:
        return UNCHECKED, f"no picture is given; there are logits of {candidate} for the two cats: --picture takes them"
    act = "gelu" if config.model_type == "cvt" else config.hidden_act  # what transformers computes for every CvT
    found = _run(folder, picture, act)
    shown = ", ".join(f"{value:.4f}" for value in found)
    if act != config.hidden_act:
        shown += f" with {act} in the place of this model's {config.hidden_act}, as the published ones were computed"
    away = {rule: float(np.abs(found - logits).max()) for rule, logits in LOGITS[candidate].items()}
    rule = min(away, key=lambda rule: away[rule])
    if away[rule] <= LOGITS_TOLERANCE:
        return OK, f"{shown}: {away[rule]:.1e} from those of {candidate} with the resizing of {rule}"
    detail = f"{shown}: {away[rule]:.1e} from those of {candidate} ({LOGITS_TOLERANCE:g} allowed)"
    if named is None:
        return UNCHECKED, f"{detail}; the architecture is the same, but nothing says that these are its weights: --name"
    return FAILED, f"{detail}; is it the picture 000000039769 of COCO, and are these its weights?"


def _run(folder: Path, picture: Any, hidden_act: Any) -> np.ndarray:
    """Return the first three logits of a picture, in float32."""
    from npconv.api import AutoImageProcessor, AutoModelForImageClassification

    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForImageClassification.from_pretrained(folder, dtype="float32", hidden_act=hidden_act)
    return np.asarray(model(**processor(picture)).logits)[0, :3]
