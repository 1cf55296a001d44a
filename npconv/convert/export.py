"""From a folder that npconv loads back to the names of another library."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npconv.convert.configuring import all_fields
from npconv.convert.dialects import Dialect, dialect
from npconv.convert.source import Source, given_path, open_source, translate
from npconv.convert.translate import from_hugging_face
from npconv.convert.writing import MANIFEST, METADATA, Findings, outgoing, read_manifest, write_hashed
from npconv.errors import InputError, NpconvError
from npconv.files.checkpoint import is_weight_file
from npconv.files.disk import SUFFIX
from npconv.files.locks import claimed
from npconv.files.safetensors import file_chunks
from npconv.messages import in_json, quoted
from npconv.models import find_family
from npconv.models.configuration import read_config_in
from npconv.models.naming import GIVEN, NOTE, WARNING, Decision

#: Endings that promise another form than safetensors.
_OTHER_FORMS = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".h5", ".hdf5", ".keras", ".npz", ".npy", ".onnx")


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes
    ----------
    path : Path
    dialect : Dialect
        With its prefix and spellings.
    count : int
        Tensors written.
    sha256 : str
        Of the file.
    decisions : list of Decision
    """

    path: Path
    dialect: Dialect
    count: int
    sha256: str
    decisions: list[Decision]


def export(
    directory: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    to: str | None = None,
    prefix: str | None = None,
    force: bool = False,
) -> Export:
    """Write the tensors of a model by the names and in the layout of another library, bit for bit.

    Parameters
    ----------
    directory : str or path
        A folder in Hugging Face layout, or whatever `convert` takes.
    out : str or path
        The safetensors file to write.
    to : str, optional
        The dialect. When unset, or when it is that of the source by the folder's manifest, the names become exactly
        those that the source had.
    prefix : str, optional
        What stands before each name, instead of what is usual.
    force : bool
        Whether `out` may be replaced.

    Raises
    ------
    NpconvError
        If `out` is a folder, a file of the model itself or named as of another form than safetensors, the model cannot
        be read, or the dialect has no place for a tensor.
    """
    path = given_path(out, "a safetensors file to write")
    _refuse_name(path)
    _refuse_taken(path, force)
    source = open_source(directory)
    _refuse_own(path, source)
    _, tensors = translate(source)
    chosen = _choose(source, tensors, to, prefix)
    theirs = from_hugging_face(tensors, chosen)
    written = outgoing(theirs, None, Findings())
    with claimed(path):
        _refuse_taken(path, force)  # by another process, meanwhile
        digest = write_hashed(path, file_chunks(written, METADATA))
    spoken = f", with {quoted(chosen.prefix)} before each name" if chosen.prefix else ""
    decisions = [
        Decision("", None, GIVEN if to else MANIFEST, NOTE, f"dialect {chosen.name}{spoken}: {len(written)} tensors")
    ]
    decisions += [Decision("", None, chosen.name, WARNING, why) for why in _differences(source, chosen)]
    left_out = len(tensors) - len(written)
    if left_out:
        why = f"{left_out} parameters left out, which {chosen.name} does not store"
        decisions.append(Decision("", None, chosen.name, NOTE, why))
    return Export(path, chosen, len(written), digest, decisions)


def _refuse_taken(path: Path, force: bool) -> None:
    """Refuse to write over a file unless the caller says so."""
    if os.path.lexists(path) and not force:
        raise InputError(f"{quoted(path)} is there already; choose another name, or --force replaces it")


def _refuse_name(path: Path) -> None:
    """Refuse a name that no safetensors file should have."""
    if os.path.isdir(path):
        raise InputError(f"expected a file to write, but {quoted(path)} is a folder; add the name of a file")
    if path.suffix.lower() in _OTHER_FORMS:
        raise InputError(
            f"expected a name that ends in {SUFFIX}, which is what is written, got {quoted(path.name)}; "
            f"{quoted(path.with_suffix(SUFFIX).name)} would do"
        )


def _refuse_own(path: Path, source: Source) -> None:
    """Refuse to write over what is read, or where it would be taken for the model's own weights."""
    folder = os.path.realpath(source.files[0].parent)
    is_inside = os.path.realpath(path.parent) == folder and (os.path.lexists(path) or is_weight_file(path.name))
    if is_inside or os.path.realpath(path) in [os.path.realpath(file) for file in source.files]:
        raise InputError(f"{quoted(path)} belongs to the model that is read; choose a name in another folder")


def _choose(source: Source, tensors: dict[str, Any], to: str | None, prefix: str | None) -> Dialect:
    """Return the dialect to write in, with the spellings that the source had if it is the same."""
    before: Any = {}
    if source.folder is not None and os.path.lexists(source.folder / MANIFEST):
        before = read_manifest(source.folder).get("source")
    before = before if isinstance(before, dict) else {}
    name = to or before.get("dialect")
    if not isinstance(name, str):
        raise InputError(f"no {MANIFEST} says what dialect the model came from; give --to")
    if name != before.get("dialect"):
        return dialect(name, tensors, prefix=prefix)
    kept = before.get("prefix")
    chosen = dialect(name, tensors, prefix=kept if prefix is None and isinstance(kept, str) else prefix)
    return Dialect(
        chosen.table,
        chosen.family,
        chosen.prefix,
        spellings=_allowed(before.get("spellings"), chosen.table.spellings, chosen.table.open_spellings),
        layouts={**chosen.layouts, **_allowed(before.get("layouts"), chosen.table.layouts)},
    )


#: What a spelling may be that no table lists: a name with a number at its end.
_OPEN = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*\.){0,3}[0-9]{1,2}")


def _allowed(kept: Any, choices: Mapping[str, tuple[str, ...]], free: Collection[str] = ()) -> dict[str, str]:
    """Return what a manifest says of the choices that a dialect leaves; anything else in it is not used."""
    items = kept.items() if isinstance(kept, dict) else ()
    return {
        key: value
        for key, value in items
        if key in choices
        and (value in choices[key] or (key in free and isinstance(value, str) and _OPEN.fullmatch(value)))
    }


#: A field that the other library computes otherwise -> how that is said.
_OTHERWISE = {
    "hidden_act": "{name} computes with {theirs}, this model with {ours}",
    "layer_norm_eps": "{name} has {theirs} in the final LayerNorm, this model {ours}",
}


#: A field that no name of a tensor shows -> what other libraries do where it is as in transformers.
_OPTIONS = {
    "pooling": "averages the last map",
    "output_stride": "builds its stages with other strides",
    "norm_type": "has LayerNorms",
}


def _other_shapes(chosen: Dialect, ours: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each option without which the other library would build another model."""
    family, table, told = find_family(chosen.family), chosen.table, dict(ours)
    if "output_stride" not in family.config_class.added_fields:
        return
    usual = {**family.config_class.added_fields, "output_stride": table.output_stride}
    make, patch = family.config_class.from_dict, ours["patch_size"]
    is_dilated = make(ours).stage_dilations != make({**ours, "output_stride": table.output_stride}).stage_dilations
    if table.output_stride and (patch == 2 or (is_dilated and ours["output_stride"] is None)):
        yield f"timm gives its stages other strides with patch_size={patch}: it computes another model"
    if not is_dilated or ours["output_stride"] is None:
        told["output_stride"] = table.output_stride
    for name, does in _OPTIONS.items():
        if told[name] != usual[name]:
            unless = " unless told otherwise" if table.are_options else ""
            yield f"{chosen.name} {does}{unless}, this model has {name} {in_json(told[name])}"


def _differences(source: Source, chosen: Dialect) -> Iterator[str]:
    """Yield a sentence for each number that the other library computes otherwise than this model."""
    folder = source.folder if source.folder is not None else source.path.parent
    try:
        fields = read_config_in(folder)
    except NpconvError:
        return
    if fields.get("model_type") != chosen.family:
        return
    table = chosen.table
    ours = {**all_fields(find_family(chosen.family).config_class()), **fields}
    yield from _other_shapes(chosen, ours)
    for name, usual in table.numbers.items():
        theirs = ours[table.follows[name]] if name in table.follows else usual
        is_free = table.are_options and name not in table.follows  # as the model's name says there
        if not is_free and ours[name] != theirs:
            yield _OTHERWISE[name].format(name=chosen.name, theirs=theirs, ours=ours[name])
