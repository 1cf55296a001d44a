"""Where a model lies on this disk, and files that are mapped, hashed, replaced in a single step or read as JSON.

Whatever goes wrong in the operating system becomes a :class:`npconv.errors.WeightsError`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from npconv.errors import InputError, ModelNotFoundError, NpconvError, WeightsError, WeightsNotFoundError
from npconv.files.loading_arguments import NAME, USUAL_ORIGIN, Origin
from npconv.files.locks import is_left, temporary_file, why_not_written
from npconv.files.strangers import BEGINNING, what_begins
from npconv.messages import quoted

if TYPE_CHECKING:
    import threading

# ``import npconv`` loads this module: what takes long to load and is not needed there is imported in the functions.

SUFFIX = ".safetensors"

_HUB_ID = f"{NAME}/{NAME}"

#: Far above the index of any model here (the largest has fewer than 1000 tensors), far below what hurts.
MAX_JSON_SIZE = 10_000_000

#: Of JSON: lists, objects and what is in them. Each may take a hundred bytes, however few it has in the file.
MAX_JSON_VALUES = 1_000_000

#: Digits of a whole number: int() takes for ever over a million.
LONGEST_NUMBER = 40

_PIECE = 2**20


def as_path(name: str | os.PathLike[str]) -> Path:
    """Return a caller's path; an InputError for what is none."""
    try:
        return Path(os.fsdecode(name))
    except TypeError as error:
        raise InputError(f"expected the name of a file or folder, got {type(name).__name__} {quoted(name)}") from error


def map_file(filename: str | os.PathLike[str]) -> memoryview:
    """Return the bytes of a file, read-only and mapped: the system reads a page when it is looked at, and may drop it.

    Raises
    ------
    WeightsError
        If there is no such regular file, or it cannot be read.
    """
    import mmap

    path = as_path(filename)
    # Not even opened unless it is a regular file: opening a named pipe would wait for a writer for ever.
    if not os.path.isfile(path):
        if not os.path.exists(path):
            raise WeightsNotFoundError(f"expected a file, but {quoted(path)} does not exist; check the path")
        found = "is a directory" if os.path.isdir(path) else "is a pipe, a device or the like, not a regular file"
        raise WeightsError(f"expected a file, but {quoted(path)} {found}; check the path")
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")  # the system refuses to map nothing
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read {quoted(path)}: {error}") from error


def hash_file(path: Path, stop: threading.Event | None = None) -> str:
    """Return the SHA-256 of a file; of its beginning if `stop` is set by another thread meanwhile.

    Raises
    ------
    WeightsError
        If it cannot be read.
    """
    import hashlib

    path = as_path(path)
    digest = hashlib.sha256()
    if not os.path.isfile(path):  # not even opened: a named pipe would wait for a writer for ever
        raise WeightsError(f"cannot read {quoted(path)}: it is no regular file; check the path")
    try:
        with path.open("rb") as file:  # read, not mapped: no more than a piece of it lies in memory
            while (piece := file.read(_PIECE)) and not (stop is not None and stop.is_set()):
                digest.update(piece)
    except OSError as error:
        raise WeightsError(f"cannot read {quoted(path)}: {error.strerror}; check the file") from error
    return digest.hexdigest()


def write_file(filename: str | os.PathLike[str], chunks: Iterable[Any]) -> None:
    """Write bytes-like `chunks` to a file that appears whole or not at all.

    They go to a temporary file in the same folder, which then takes the place of `filename`. Arrays that are mapped
    from the old file stay valid where the system allows such a replacement (all but Windows).

    Raises
    ------
    WeightsError
        If the file cannot be written, or there is a device or a pipe. What is there then stays, and the temporary file
        does not.
    """
    path = as_path(filename)
    shown = path.name if is_left(path.parent.name) else path
    try:
        if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            raise WeightsError(f"cannot write {quoted(shown)}: it is a device or a pipe; give the name of a file")
        with temporary_file(path.parent) as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            # What a disk far away could not write is told when a descriptor is closed; this one keeps the lock.
            os.close(os.dup(file.fileno()))
            if os.name == "nt":  # there, an open file cannot be renamed
                file.close()
            os.replace(file.name, path)
    except NpconvError:  # raised by `chunks`
        raise
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot write {quoted(shown)}: {why_not_written(error)}") from error


def read_json(
    path: str | os.PathLike[str], *, most: int = MAX_JSON_SIZE, exact: bool = False, finite: bool = False
) -> Any:
    """Return what a JSON file holds; arguments and errors as of `parse_json`, and it must be there."""
    return parse_json(map_file(path), quoted(path), most=most, exact=exact, finite=finite)


def parse_json(
    text: str | memoryview, source: str, *, most: int = MAX_JSON_SIZE, exact: bool = True, finite: bool = True
) -> Any:
    """Return what JSON of a stranger holds, every name of an object once.

    It may have `most` bytes and `MAX_JSON_VALUES` values, which are counted before any is made. If `exact`, whole
    numbers are such, of at most 40 digits; otherwise they are floats. If `finite`, the others are finite.

    Raises
    ------
    WeightsError
        If the text is longer or something else.
    """
    if not isinstance(text, str | bytes | memoryview):
        raise InputError(f"expected JSON as text or bytes, got {type(text).__name__}")
    if len(text) > most:
        raise WeightsError(f"{source} has {len(text)} bytes, expected at most {most} of JSON")
    import json

    number = _finite_number if finite else float
    try:
        text = text if isinstance(text, str) else str(text, "utf-8")
        values = sum(map(text.count, "[{,"))  # a few too many: texts may have them too
        if values > MAX_JSON_VALUES:
            raise ValueError(f"it has about {values} values, expected at most {MAX_JSON_VALUES}")
        return json.loads(
            text,
            parse_int=_whole_number if exact else number,
            parse_float=number,
            parse_constant=number,
            object_pairs_hook=_unique_names,
        )
    except (ValueError, RecursionError) as error:
        if what := what_begins(_start(text)):
            raise WeightsError(f"{source} is {what}") from error
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise WeightsError(f"{source} is not the JSON it should be: {reason}; write or download it again") from error


def _start(text: str | bytes | memoryview) -> bytes:
    return text[:BEGINNING].encode("utf-8", "replace") if isinstance(text, str) else bytes(text[:BEGINNING])


def _whole_number(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:LONGEST_NUMBER]}, expected finite ones")
    return value


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of a JSON object; ``json`` itself would silently keep the last of two with one name."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has the same name twice")
    return members


class Hub(NamedTuple):
    """What knows the models that are not on this disk."""

    #: Hub id and origin -> the folder of the model, or the file of a variant.
    find: Callable[[str, Origin], Path]
    #: An unknown name -> ``"; did you mean ...?"`` or nothing.
    suggest: Callable[[str], str]
    #: A folder and a variant -> what to load: itself, what its weights were converted into, or the variant's file.
    ready: Callable[[Path, str | None], Path]


#: Set by ``npconv.hub``, which stands above this room.
_hub: Hub | None = None


def register_hub(hub: Hub) -> None:
    """Let `locate` find hub ids as well."""
    global _hub
    _hub = hub


def embedded_models() -> list[str]:
    """Return the names of the models that come with npconv."""
    zoo = _zoo()
    return sorted(folder.name for folder in zoo.iterdir() if (folder / "config.json").is_file()) if zoo.is_dir() else []


def locate(model: str | os.PathLike[str] | None, origin: Origin = USUAL_ORIGIN) -> Path:
    """Find a model.

    Parameters
    ----------
    model : str or path
        An embedded model's name, a folder in Hugging Face layout, a ``.safetensors`` file, or a hub id
        (``"facebook/convnextv2-tiny-1k-224"``); the first of these that exists. A path object is a folder or file only,
        and so is a text such as ``"./convnextv2-cifar10"``. A hub id is looked for in the local Hugging Face cache
        (where ``HF_HUB_CACHE``, ``HF_HOME`` and the like say) and then, if huggingface_hub is installed and
        ``HF_HUB_OFFLINE`` unset, downloaded. Where it has no safetensors, nor a folder, its other weights are converted
        once, into a cache of npconv (``NPCONV_CACHE``, or ``npconv`` in ``XDG_CACHE_HOME`` or ``~/.cache``).
    origin : Origin
        Which revision of a hub model, in which cache, and so on; of a folder, which one inside it, and which variant.

    Returns
    -------
    Path
        The folder, or the file that was given, or that of a variant.

    Raises
    ------
    ModelNotFoundError
        If there is no such model; says what was looked for, and where.
    WeightsError
        If what was downloaded is damaged, or cannot be converted.
    """
    if not isinstance(model, str | os.PathLike):
        raise ModelNotFoundError(f"expected a model's name or path, got {type(model).__name__} {quoted(model)}")
    name = os.fspath(model)
    if isinstance(model, str) and model in embedded_models():
        return _inside(_zoo() / model, origin, is_ready=origin.variant is None)
    # os.path rather than Path: these are False, not an error, for names that no file can have.
    if os.path.isdir(name):
        return _inside(Path(name), origin)
    if name.endswith(SUFFIX) and os.path.isfile(name):
        return Path(name)
    if os.path.isfile(name):
        raise ModelNotFoundError(
            f"{quoted(name)} is a file, expected a {SUFFIX} file or the folder of a model; to make one of weights in "
            "another form: npconv convert FILE FOLDER"
        )
    if _hub and isinstance(model, str) and re.fullmatch(_HUB_ID, name) and ".." not in name and "--" not in name:
        return _hub.find(name, origin)
    raise ModelNotFoundError(
        f"no model {quoted(name)}: no embedded model ({embedded_list()}), no folder, no {SUFFIX} file and no hub id "
        "of the form 'organisation/name'; check the spelling and the folder you are in"
        f"{_hub.suggest(str(name)) if _hub else ''}"
    )


def _inside(folder: Path, origin: Origin, *, is_ready: bool = False) -> Path:
    """Return what to load of a folder: its subfolder, what was made of its weights, or the file of a variant."""
    inside = folder / origin.subfolder
    if not inside.is_dir():
        raise ModelNotFoundError(f"no folder {quoted(origin.subfolder)} in {quoted(folder)}; check subfolder")
    return _hub.ready(inside, origin.variant) if _hub and not is_ready else inside


def _zoo() -> Path:
    """Return the folder of the embedded models."""
    return Path(__file__).parents[1] / "zoo"


def embedded_list() -> str:
    """Return the embedded models' names for an error message."""
    return ", ".join(embedded_models()) or "none is installed"
