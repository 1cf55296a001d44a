"""What is to be converted: a file, an index or a folder, opened, and its tensors in the names of Hugging Face."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from npconv.convert.dialects import Dialect
from npconv.convert.leftovers import AVERAGE, DUPLICATE, PICTURES, TOLD, described
from npconv.convert.respelling import respelled
from npconv.convert.side_files import TIMM
from npconv.convert.stated import OPEN_CLIP_FILE, Stated, is_of_timm, read_open_clip_file, read_timm
from npconv.convert.strangers import what_else
from npconv.convert.translate import are_equal, copies, detect_all, take, to_hugging_face
from npconv.convert.writing import MANIFEST, deferred, read_manifest
from npconv.errors import ConfigError, InputError, WeightsError
from npconv.files.dtypes import DeferredArray
from npconv.files.opening import WRAPPINGS, OpenedWeights, open_weights, weight_files
from npconv.messages import listed, quoted
from npconv.models import FAMILIES, find_family
from npconv.models.configuration import read_config_in
from npconv.models.naming import CONFIG_FILE, GIVEN, GUESS, NOTE, WARNING, Decision

#: The name of one of several files, as transformers writes them.
_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})\.(safetensors|bin)")

_HUB_FOLDER = re.compile(r"models--([A-Za-z0-9_.-]+?)--([A-Za-z0-9_.-]+)")
_HUB_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass
class Source:
    """Weights and what lies beside them."""

    #: As given.
    path: Path
    #: That the weights were read from.
    files: list[Path]
    #: The folder, if one was given: its small files count as well.
    folder: Path | None
    opened: OpenedWeights
    #: The tensors by their names in the file.
    theirs: dict[str, DeferredArray]
    #: Of the folder's ``config.json`` in the form of transformers; empty without one.
    fields: dict[str, Any] = field(default_factory=dict)
    #: What the folder's ``config.json`` in the form of timm, or ``open_clip_config.json``, says.
    stated: Stated | None = None
    #: By which the model is known, such as ``"facebook/convnext-tiny-224"``; empty if it is not.
    name: str = ""
    #: Of the family that the caller named; empty if not.
    model_type: str = ""
    decisions: list[Decision] = field(default_factory=list)
    #: Tensors that are no part of the model -> what each is; filled by `translate`.
    left: dict[str, str] = field(default_factory=dict)

    def note(self, field: str, value: Any, source: str, reason: str, level: str = NOTE) -> None:
        """Add a decision."""
        self.decisions.append(Decision(field, value, source, level, reason))


def given_path(path: str | os.PathLike[str], what: str) -> Path:
    """Return a path from the caller; an InputError if it is empty, which would mean the current folder."""
    if not os.fspath(path):
        raise InputError(f"expected {what}, got an empty text; write . for the current folder")
    return Path(path)


def source_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of what is to be read.

    Raises
    ------
    InputError
        If it is empty; if there is nothing of the name, and it is the address of a page or a hub id.
    """
    found, text = given_path(path, "a file, an index or a folder to read"), str(path)
    if not os.path.lexists(text):
        if "://" in text:
            raise InputError(f"expected a file or a folder, got the address {quoted(text)}; download it first")
        if _HUB_NAME.fullmatch(text):
            raise InputError(
                f"expected a file or a folder, but there is no {quoted(text)} here; a hub id is for npconv itself, "
                f"which converts where it must: npconv classify --model {text} PICTURE"
            )
    return found


def open_source(
    path: str | os.PathLike[str],
    wrapping: str | None = None,
    name: str = "",
    model_type: object = "",
    *,
    prefix: str | None = None,
    leave: Sequence[str] = (),
) -> Source:
    """Open what is to be converted.

    Of a file with several models, `prefix` is what the names of the wanted one begin with; `leave` are patterns of
    names that are left behind.

    Raises
    ------
    InputError
        If no name begins with the prefix, or none has a pattern.
    WeightsError
        As `open_weights`.
    ConfigError
        If the folder's ``config.json`` cannot be read, or there is no such `model_type`.
    """
    told = find_family(model_type).model_type if model_type != "" else ""
    path = source_path(path)
    files = weight_files(path)
    opened = open_weights(path, wrapping=wrapping)
    folder = path if path.is_dir() else None
    theirs, left = _chosen(deferred(opened.tensors), prefix, leave)
    source = Source(path, files, folder, opened, theirs, model_type=told, left=left)
    source.note("container", opened.container, "file", f"the first bytes of {quoted(source.files[0].name)}")
    _note_the_rest(source, wrapping)
    _read_config(source)
    source.name = name or _known_name(source)
    if source.name:
        why = "given" if name else "the files and folders say so"
        source.note("source model", source.name, GIVEN if name else "file", why)
    return source


def _chosen(
    tensors: dict[str, DeferredArray], prefix: str | None, leave: Sequence[str]
) -> tuple[dict[str, DeferredArray], dict[str, str]]:
    """Return the tensors that the caller wants, and those that are left behind as told."""
    left = {name: TOLD for name in tensors if prefix and not name.startswith(prefix)}
    if tensors and len(left) == len(tensors):
        there = dict.fromkeys(name.partition(".")[0] + "." for name in tensors if "." in name)
        raise InputError(
            f"expected --prefix to begin names of tensors, got {quoted(prefix)}; there are {listed(list(there))}"
        )
    for pattern in leave:
        found = [name for name in tensors if fnmatchcase(name, pattern)]
        if not found:
            raise InputError(f"expected --leave to be a pattern of names such as 'fc.*', none has {quoted(pattern)}")
        left |= dict.fromkeys(found, TOLD)
    if tensors and len(left) == len(tensors):
        raise InputError(
            f"expected --leave to leave a model, but {listed(list(map(quoted, leave)))} takes all tensors away"
        )
    return {name: tensor for name, tensor in tensors.items() if name not in left}, left


def translate(source: Source) -> tuple[Dialect, dict[str, Any]]:
    """Return the dialect of a source and its tensors in the names of Hugging Face; notes what is left behind.

    Raises
    ------
    WeightsError
        If the dialect is unknown, or a tensor has no place or is lacking.
    """
    try:
        return _translate(source)
    except WeightsError as error:
        if reason := what_else(source.theirs):
            raise WeightsError(reason) from error
        lost = [place for place, what in source.opened.skipped if what.startswith("torch._utils._rebuild")]
        if lost:
            why = f"not read, as they are sparse or the like: {listed(list(map(quoted, lost)))}"
            raise WeightsError(f"{error}; {why}") from error
        part = _SHARD.fullmatch(source.files[0].name)
        if part is None or int(part[2]) < 2:
            raise
        ending = f"{part[3]}.index.json"
        raise WeightsError(
            f"{error}; the file is one of {int(part[2])} by its name: give their index, {quoted(f'{part[1]}.{ending}')}"
        ) from error


def _translate(source: Source) -> tuple[Dialect, dict[str, Any]]:
    """Return the dialect of a source and its tensors in the names of Hugging Face."""
    told, theirs = told_family(source), respelled(source.theirs)
    dialect, *others = detect_all(theirs, told)
    if source.model_type and dialect.family != source.model_type:
        raise ConfigError(f"--set says model_type {source.model_type}, but the tensors are those of {dialect.family}")
    prefix = f", with {quoted(dialect.prefix)} before each name" if dialect.prefix else ", without a prefix"
    source.note("dialect", dialect.name, "names", f"names such as {quoted(next(iter(theirs)))}{prefix}")
    theirs = _without_copies(source, theirs, dialect)
    ours, left = take(theirs, dialect)
    source.left |= left
    also = [other.family for other in others if told is None and _is_complete(theirs, other)]
    if also:
        why = f"as a {' or '.join(also)} has the same names; --set model_type={also[0]} says otherwise"
        source.note("model_type", dialect.family, "names", why, GUESS)
    for kind, text in described(source.left):
        source.note("", None, "names", text, WARNING if kind in (PICTURES, AVERAGE) else NOTE)
    _note_the_head(source, dialect)
    if dialect.table.without_classifier and "classifier.weight" not in ours:
        source.note("last norm", None, dialect.name, dialect.table.without_classifier, GUESS)
    count = len(theirs) - len(left)
    source.note("", None, "names", f"{count} tensors used once each, {len(ours)} parameters filled once each")
    return dialect, ours


def _without_copies(source: Source, theirs: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return the tensors without the same ones under a second prefix.

    Raises
    ------
    WeightsError
        If those under another prefix are another model.
    """
    there = copies(theirs, dialect)
    for prefix, names in there.items():
        if not are_equal(theirs, dialect, prefix, names):
            models = [dialect, *(replace(dialect, prefix=other) for other in there)]
            named = [quoted(model.prefix) if model.prefix else "none" for model in models]
            raise WeightsError(
                f"the file holds {len(models)} models, by what their names begin with: {', '.join(named)}; say which: "
                f"{' or '.join(_way(model, models) for model in models)}"
            )
        source.left |= dict.fromkeys(names, DUPLICATE)
    return {name: tensor for name, tensor in theirs.items() if name not in source.left}


def _way(dialect: Dialect, models: list[Dialect]) -> str:
    """Return the options that take one of several models alone."""
    own = dialect.wrapper
    inside = [model.wrapper for model in models if model.wrapper.startswith(own) and model.wrapper != own]
    words = [f"--prefix {shlex.quote(own)}"] if own else []
    return " ".join([*words, *(f"--leave {shlex.quote(f'{other}*')}" for other in inside)])


def _note_the_head(source: Source, dialect: Dialect) -> None:
    """Say that modules before the classifier are taken to do nothing, if there are any."""
    head, usual = dialect.spellings.get("{head}", ""), dialect.table.spellings.get("{head}", ("",))[0]
    if head not in ("", usual, f"{usual}.0"):
        why = (
            f"{quoted(head)} is the last of several modules; those before it have no parameters and are taken for a "
            "Dropout, which does nothing: an activation there would give other logits"
        )
        source.note("classifier", None, "names", why, WARNING)


def _is_complete(theirs: Mapping[str, Any], dialect: Dialect) -> bool:
    """Say whether tensors make a model in another dialect than the one taken."""
    try:
        to_hugging_face(theirs, dialect)
    except WeightsError:
        return False
    return True


def told_family(source: Source) -> str | None:
    """Return the family that the caller, ``config.json`` or the name of the model says; None if none does."""
    if source.model_type or "model_type" in source.fields:
        return source.model_type or str(source.fields["model_type"])
    return next((f for f in FAMILIES if any(w in source.name for w in FAMILIES[f].part("names").WORDS)), None)


def _note_the_rest(source: Source, wrapping: str | None) -> None:
    """Say what else is in the file: a warning if it may be another model."""
    opened = source.opened
    if opened.taken:
        source.note("wrapping", opened.taken, "file", "the tensors are inside this entry")
    for place, count in opened.others.items():
        is_alike = count == len(opened.tensors) > 1 and not place.startswith("optim")  # has one of each, too
        is_model = place.rpartition(".")[2] in WRAPPINGS or is_alike
        if wrapping is None and is_model:
            why = (
                f"the file has another model, perhaps the better one, which is not used: {quoted(place)} with "
                f"{count} tensors; --wrapping {shlex.quote(place)} takes it"
            )
            source.note("", None, "file", why, WARNING)
        else:
            source.note("", None, "file", f"also there, not used: {quoted(place)} with {count} tensors")
    if opened.skipped:
        shown = listed([f"{quoted(place)} ({what})" for place, what in opened.skipped])
        source.note("", None, "file", f"skipped, neither tensor, number nor text: {shown}")


def _read_config(source: Source) -> None:
    """Read ``config.json``: that of transformers, or the one of timm; or what open_clip has in its place."""
    folder = source.path.parent if source.folder is None else source.folder
    there = [name for name in (CONFIG_FILE, OPEN_CLIP_FILE) if os.path.lexists(folder / name)]
    if source.folder is None:
        if there:
            source.note("", None, "file", f"{there[0]} beside the file is not used: give the folder for that")
        return
    is_clip = any(".trunk." in name for name in source.theirs)
    if OPEN_CLIP_FILE in there and (is_clip or CONFIG_FILE not in there):
        source.stated = read_open_clip_file(folder)
        source.decisions += source.stated.decisions
        return
    if CONFIG_FILE not in there:
        return
    fields = read_config_in(folder)
    if is_of_timm(fields):
        source.stated = read_timm(fields)
        source.decisions += source.stated.decisions
        source.note("", None, "timm", "config.json is timm's: computation and preprocessing are taken from it")
    elif "model_type" in fields:
        source.fields = fields
    else:
        raise ConfigError(
            f"{quoted(source.folder / 'config.json')} has no model_type, so that it is not of transformers; "
            "give the path of the weights to convert without it"
        )


def _known_name(source: Source) -> str:
    """Return the name of a model if the files or the folders say it."""
    if source.stated is not None and source.stated.file == TIMM.file:
        return f"timm/{source.stated.architecture}.{source.stated.tag}".rstrip(".")
    return next(said_names(source.path, source.fields), "")


def said_names(path: Path, fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is said of the name of a model: by a folder's manifest, by ``config.json``, by the hub's folders."""
    if path.is_dir() and os.path.lexists(path / MANIFEST):
        before = read_manifest(path).get("source")
        if isinstance(before, Mapping) and isinstance(before.get("name"), str):
            yield before["name"]
    stated = fields.get("_name_or_path")
    if isinstance(stated, str) and _HUB_NAME.fullmatch(stated):
        yield stated
    for part in reversed(path.absolute().parts):
        if found := _HUB_FOLDER.fullmatch(part):
            yield f"{found[1]}/{found[2]}"
