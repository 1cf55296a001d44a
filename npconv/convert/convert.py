"""From a file of any framework to a folder that npconv and transformers load."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npconv.convert import configuring, writing
from npconv.convert.configuring import Labels
from npconv.convert.dialects import Dialect
from npconv.convert.preprocessing import make_processor
from npconv.convert.source import Source, given_path, open_source, source_path, translate
from npconv.convert.writing import FLOAT8_AS, FLOATS, MANIFEST, Findings, manifest_text, outgoing, usual_dtype
from npconv.files import locks
from npconv.files.checkpoint import SINGLE_FILE
from npconv.files.opening import weight_files
from npconv.images.settings import FILE_NAME
from npconv.models.configuration import PROJECTION, PretrainedConfig
from npconv.models.naming import GIVEN, WARNING, Decision

CONFIG = "config.json"

#: What a folder may not hold before, unless it is to be replaced; shards go without saying.
WRITTEN = (CONFIG, FILE_NAME, MANIFEST, SINGLE_FILE)

#: What transformers calls the dtypes of safetensors.
STORED_NAMES = {stored: name for name, stored in FLOATS.items()}


@dataclass(frozen=True)
class Conversion:
    """What was written, and why so.

    Attributes
    ----------
    directory : Path
    config : PretrainedConfig
    decisions : list of Decision
        `npconv.models.naming.lines` makes text of them.
    not_finite : dict of str to int
        Tensors with NaN or infinities, which are written as they are, and how many.
    container : str
        Of the source, such as ``"PyTorch zip"``.
    dialect : Dialect
        Of the source.
    dtype : str
        Of most numbers, such as ``"float32"``.
    files : list of Path
        Written.
    source_files : dict of str to str
        Files that were read -> SHA-256.
    name : str
        Of the source model, empty if it is not known.
    """

    directory: Path
    config: PretrainedConfig
    decisions: list[Decision]
    not_finite: dict[str, int]
    container: str
    dialect: Dialect
    dtype: str
    files: list[Path]
    source_files: dict[str, str]
    name: str


def convert(
    source: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    dtype: str | None = None,
    max_shard_size: int | str | None = None,
    labels: Labels | None = None,
    wrapping: str | None = None,
    prefix: str | None = None,
    leave: Sequence[str] = (),
    preprocessing: Mapping[str, Any] | None = None,
    name: str = "",
    force: bool = False,
    **config_fields: Any,
) -> Conversion:
    """Convert a checkpoint, without the framework that wrote it.

    Every tensor is used once and every parameter filled once. Nothing appears in `directory` unless all is well.

    Parameters
    ----------
    source : str or path
        A file, an index of several, or a folder in Hugging Face layout, whose ``config.json``, classes and
        ``preprocessor_config.json`` are taken then.
    directory : str or path
        For ``config.json``, ``model.safetensors`` or shards with an index, ``preprocessor_config.json`` and
        ``npconv_manifest.json``, which holds the hash of each and what was decided.
    dtype : str, optional
        float64, float32, bfloat16 or float16; as stored when unset, but 8-bit floats as float32. Integers stay what
        they are.
    max_shard_size : int or str, optional
        The most bytes of tensors in a file, or text such as ``"200MB"``; one file when unset.
    labels : path, sequence or mapping, optional
        Names of the classes.
    wrapping : str, optional
        Which of several state dicts in a PyTorch file to take, such as ``"model_ema"``.
    prefix : str, optional
        What the names of the model begin with, such as ``"student."``, where a file holds several models or more than
        a model; everything else is left behind.
    leave : sequence of str
        Patterns of names to leave behind, such as ``"fc.*"``.
    preprocessing : mapping, optional
        Settings of the image processor: size, crop_pct, image_mean, image_std, resample.
    name : str
        Of the source model, for the manifest; found in the source's files and folders when empty.
    force : bool
        Whether the files of another model in `directory` may be replaced. No other file is ever touched.
    **config_fields
        Fields of the configuration, instead of what is found; ``model_type`` where tensors have the same names in
        several families.

    Raises
    ------
    NpconvError
        If the source cannot be read or is no model that is known, a field is open or contradicts the tensors, numbers
        would overflow, or the files cannot be written, as when another process converts into the folder.
    """
    directory = given_path(directory, "a folder to write to")
    writing.check_free(directory, WRITTEN, force)
    paths = weight_files(source_path(source))
    with locks.staged(directory) as staging, writing.hashing(paths) as digests:
        model = open_source(source, wrapping, name, config_fields.pop("model_type", ""), prefix=prefix, leave=leave)
        dialect, tensors = translate(model)
        config = configuring.make_config(model, tensors, dialect, labels, config_fields)
        configuring.check_fits(config, tensors)
        if labels is None:
            _note_projection(model, dialect, config)
        processor = make_processor(model, config, dialect, preprocessing or {})
        findings = Findings()
        out = outgoing(tensors, dtype, findings, FLOAT8_AS)
        stored = STORED_NAMES[usual_dtype(out)]
        config.other_fields["dtype"] = stored  # as transformers says it
        texts = {CONFIG: config.to_json_string(use_diff=False), FILE_NAME: processor.to_json_string() + "\n"}
        files = writing.write_weights(staging, out, max_shard_size)
        files |= {file: writing.write_text(staging / file, text) for file, text in texts.items()}
        model.note("dtype", stored, GIVEN if dtype else "file", _why_dtype(dtype, usual_dtype(tensors)))
        model.decisions += findings.warnings(dtype)
        hashes = {path.name: digest.result() for path, digest in zip(paths, digests, strict=True)}
        writing.write_text(staging / MANIFEST, manifest_text(model, dialect, stored, hashes, files))
        writing.publish(staging, directory, WRITTEN, force)
    return Conversion(
        directory=directory,
        config=config,
        decisions=model.decisions,
        not_finite=findings.not_finite,
        container=model.opened.container,
        dialect=dialect,
        dtype=stored,
        files=[directory / file for file in (*files, MANIFEST)],
        source_files=hashes,
        name=model.name,
    )


#: In the tags of timm's models: pre-trained as the picture tower of CLIP, fine-tuned to classes.
_CLIP, _TUNED = re.compile(r"\.clip_"), re.compile(r"_ft_|_ft$")


def _note_projection(model: Source, dialect: Dialect, config: PretrainedConfig) -> None:
    """Say in the configuration that the head gives an embedding, where it is a CLIP model's."""
    is_named = _CLIP.search(model.name) is not None and _TUNED.search(model.name) is None
    if not config.num_labels or "id2label" in model.fields or not (dialect.table.projects or is_named):
        return
    config.other_fields[PROJECTION] = True
    model.decisions = [decision for decision in model.decisions if decision.field != "labels"]
    why = f"its {config.num_labels} numbers are an embedding and no scores of classes; if they are, --labels names them"
    model.note("head", "a projection", dialect.name if dialect.table.projects else "name", why, WARNING)


def _why_dtype(given: str | None, before: str) -> str:
    """Return why the numbers are written in their dtype."""
    if given is not None:
        return "given"
    if before in FLOAT8_AS:
        return "the 8-bit floats of the source, which transformers cannot load from such a file, without a loss"
    return "as stored"
