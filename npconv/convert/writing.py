"""What is written: tensors that are read only then, a folder that appears whole, and the hash of every file in it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv._version import __version__
from npconv.convert.dialects import Dialect
from npconv.errors import InputError, WeightsError
from npconv.files import locks
from npconv.files.checkpoint import INDEX_FILE, index_json, is_weight_file, shard_files
from npconv.files.disk import hash_file, read_json, write_file
from npconv.files.dtypes import DeferredArray, dtype_of, held_dtype
from npconv.files.safetensors import file_chunks
from npconv.images.versions import library_versions
from npconv.messages import listed, quoted
from npconv.models.naming import WARNING, Decision, lines

if TYPE_CHECKING:
    from npconv.convert.source import Source

#: Where the files of a folder came from, and the hash of each.
MANIFEST = "npconv_manifest.json"
VERSION = 1

#: Without it some readers refuse a file.
METADATA = {"format": "pt"}

#: What ``--dtype`` takes -> the name in a safetensors file.
FLOATS = {"float64": "F64", "float32": "F32", "bfloat16": "BF16", "float16": "F16"}

#: Formats of 8-bit floats -> the one that every loader knows and that holds each of their numbers.
FLOAT8_AS = {"F8_E4M3": "F32", "F8_E5M2": "F32"}

#: From here on a number is rounded to infinity: half a step above the largest of the dtype.
_LIMITS = {"F16": 65520.0, "BF16": 255.5 * 2.0**120, "F32": (2.0**25 - 1) * 2.0**103}

#: The smallest number above zero; half of it and less becomes zero.
_LEAST = {"F16": 2.0**-24, "BF16": 2.0**-133, "F32": 2.0**-149}


def deferred(tensors: Mapping[str, Any]) -> dict[str, DeferredArray]:
    """Return the tensors of a file, to be renamed and laid out anew now and read only when they are written.

    A dtype that no model has, such as complex numbers, is a WeightsError.
    """
    try:
        return {name: _deferred(tensor, name) for name, tensor in tensors.items()}
    except InputError as error:
        raise WeightsError(str(error)) from None


def _deferred(tensor: Any, name: str) -> DeferredArray:
    if isinstance(tensor, DeferredArray):
        return tensor
    return DeferredArray(tensor, dtype_of(tensor, f"tensor {quoted(name)}"))


@dataclass
class Findings:
    """What was seen in the numbers as they were written.

    `not_finite` maps names to the count of NaN and infinities, `vanished` to that of numbers that became zero.
    """

    not_finite: dict[str, int] = field(default_factory=dict)
    vanished: dict[str, int] = field(default_factory=dict)

    def warnings(self, dtype: str | None) -> list[Decision]:
        """Return what the user has to know about the numbers."""
        found = []
        if self.not_finite:
            places = listed([f"{count} in {name}" for name, count in self.not_finite.items()])
            found.append(f"the weights hold NaN or infinity: {places}; they are kept as they are")
        if self.vanished:
            total = sum(self.vanished.values())
            most = max(self.vanished, key=lambda name: self.vanished[name])
            found.append(f"{total} numbers too small for {dtype} became 0, most in {most}")
        return [Decision("", None, "numbers", WARNING, reason) for reason in found]


def _as_written(values: np.ndarray, name: str, before: str, stored: str, findings: Findings) -> np.ndarray:
    """Return numbers in the dtype that they are written in; notes what is not finite, and what that cannot hold."""
    if values.dtype.kind == "f" and values.size:
        _look(values, name, before, stored, findings)
    with np.errstate(over="ignore"):
        return values.astype(held_dtype(stored), copy=False)


def _look(values: np.ndarray, name: str, before: str, stored: str, findings: Findings) -> None:
    """Look at numbers for `_as_written`."""
    least, most = float(values.min()), float(values.max())  # NaN if there is one
    if not math.isfinite(least) or not math.isfinite(most):
        finite = np.isfinite(values)
        findings.not_finite[name] = int(values.size - np.count_nonzero(finite))
        rest = values[finite]
        least, most = (float(rest.min()), float(rest.max())) if rest.size else (0.0, 0.0)
    if stored not in _LIMITS or _holds(stored, values.dtype, before):
        return
    if max(-least, most) >= _LIMITS[stored]:
        dtype = next(dtype for dtype, known in FLOATS.items() if known == stored)
        raise WeightsError(
            f"{quoted(name)} has numbers from {least:.6g} to {most:.6g}, which {dtype} cannot hold: they would "
            "become infinite; choose a wider dtype"
        )
    small = (values != 0) & (np.abs(values) <= _LEAST[stored] / 2)
    if count := int(np.count_nonzero(small)):
        findings.vanished[name] = count


def _holds(stored: str, dtype: np.dtype, before: str) -> bool:
    """Say whether a dtype holds every number of the one before."""
    if stored == before:
        return True
    return dtype.itemsize < held_dtype(stored).itemsize or (stored == "F32" and dtype.itemsize == 4)


def outgoing(
    tensors: Mapping[str, Any], dtype: str | None, findings: Findings, instead: Mapping[str, str] | None = None
) -> dict[str, DeferredArray]:
    """Return tensors as they are to be written: converted to a dtype, and looked at on the way.

    Parameters
    ----------
    tensors : mapping of str to DeferredArray or ndarray
        An array among them is one that the file did not hold: it gets the dtype of most of the others.
    dtype : str, optional
        One of `FLOATS`; as they are stored when unset. Integers stay what they are.
    findings : Findings
        Filled as the tensors are written.
    instead : mapping of str to str, optional
        Dtypes to replace where `dtype` is unset, such as `FLOAT8_AS`.

    Raises
    ------
    InputError
        If there is no such dtype.
    WeightsError
        If a parameter is not floating-point.
    """
    if dtype is not None and dtype not in FLOATS:
        raise InputError(f"expected dtype to be one of {', '.join(FLOATS)}, got {quoted(dtype)}")
    usual = usual_dtype(tensors)
    made = {}
    for name, tensor in tensors.items():
        own = tensor.stored if isinstance(tensor, DeferredArray) else usual
        if np.dtype(tensor.dtype).kind == "f":
            stored = FLOATS[dtype] if dtype else (instead or {}).get(own, own)
        elif name.endswith("num_batches_tracked"):
            stored = dtype_of(np.empty((), tensor.dtype), name)
        else:
            raise WeightsError(
                f"tensor {quoted(name)} is stored as {own}, expected floating-point numbers: quantised weights mean "
                "nothing without their scales; take the weights as they were before quantisation"
            )
        before = getattr(tensor, "stored", "")
        written = partial(_as_written, name=name, before=before, stored=stored, findings=findings)
        made[name] = _deferred(tensor, name).map(written, shape=tensor.shape, stored=stored)
    return made


def usual_dtype(tensors: Mapping[str, Any]) -> str:
    """Return the floating-point dtype of most numbers, in the names of safetensors."""
    sizes: dict[str, int] = {}
    for tensor in tensors.values():
        if isinstance(tensor, DeferredArray) and np.dtype(tensor.dtype).kind == "f":
            sizes[tensor.stored] = sizes.get(tensor.stored, 0) + tensor.size
    return max(sizes, key=lambda name: sizes[name], default="F32")


@contextmanager
def hashing(paths: Collection[Path]) -> Iterator[list[Future[str]]]:
    """Hash files in a thread while other things go on; what is not asked for within the block is given up."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        try:
            yield [thread.submit(hash_file, path, stop) for path in paths]
        finally:
            stop.set()


def write_hashed(path: Path, chunks: Iterable[Any]) -> str:
    """Write pieces to a file that appears whole or not at all, and return its SHA-256, made meanwhile by a thread."""
    digest = hashlib.sha256()
    with ThreadPoolExecutor(1) as thread:

        def hashed() -> Iterator[Any]:
            last: Future[None] | None = None
            for chunk in chunks:
                if last is not None:
                    last.result()  # no more than two pieces at a time in memory
                last = thread.submit(digest.update, chunk)
                yield chunk
            if last is not None:
                last.result()

        write_file(path, hashed())
    return digest.hexdigest()


def write_weights(
    directory: Path, tensors: Mapping[str, DeferredArray], max_shard_size: int | str | None = None
) -> dict[str, str]:
    """Write tensors as ``model.safetensors``, or as shards with their index; return the SHA-256 of each file."""
    files = shard_files(tensors, max_shard_size)
    hashes = {name: write_hashed(directory / name, file_chunks(shard, METADATA)) for name, shard in files.items()}
    if len(files) > 1:
        hashes[INDEX_FILE] = write_hashed(directory / INDEX_FILE, [index_json(files)])
    return hashes


def write_text(path: Path, text: str) -> str:
    """Write a small file and return its SHA-256."""
    return write_hashed(path, [text.encode()])


def check_free(directory: Path, names: Collection[str], force: bool) -> None:
    """Refuse a folder that holds another model already: `names`, which are to be written, unless `force` replaces them.

    Raises
    ------
    InputError
        If it does.
    """
    if not os.path.lexists(directory):
        return
    if not directory.is_dir():
        raise InputError(f"expected a folder to write to, but {quoted(directory)} is a file; choose another name")
    taken = _taken(directory, names)
    if taken and not force:
        raise InputError(
            f"{quoted(directory)} holds {listed(taken)} already; choose another folder, or --force replaces them"
        )


def _taken(directory: Path, names: Collection[str]) -> list[str]:
    """Return the files of a folder that belong to a model and would be replaced, or be left over beside a new one."""
    try:
        found = sorted(os.listdir(directory))
    except OSError as error:
        raise InputError(f"cannot look into {quoted(directory)}: {error.strerror}; choose another folder") from error
    return [name for name in found if name in names or is_weight_file(name)]


def publish(staging: Path, directory: Path, names: Collection[str], force: bool) -> None:
    """Give the files of a staging folder their place: all in one step, unless the folder is there already.

    Raises
    ------
    InputError
        As `check_free`.
    WeightsError
        If the files cannot be moved.
    """
    check_free(directory, names, force)
    try:
        stale = [] if not os.path.lexists(directory) else _taken(directory, names)
        stale = [name for name in stale if not os.path.lexists(staging / name)]
        locks.publish(staging, directory, MANIFEST)  # where the manifest is, the others are
        for name in stale:
            (directory / name).unlink()
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot write {quoted(directory)}: {locks.why_not_written(error)}") from error


def manifest_text(
    source: Source, dialect: Dialect, dtype: str, hashes: Mapping[str, str], files: Mapping[str, str]
) -> str:
    """Return the manifest of a converted folder as JSON.

    `dtype` is that of most numbers written. `hashes` are the SHA-256 of the files read, `files` those of the files
    written, by their names.
    """
    content = {
        "format_version": VERSION,
        "written_by": f"npconv {__version__}",
        "versions": library_versions(),
        "source": {
            "name": source.name or None,
            "files": dict(hashes),
            "container": source.opened.container,
            "wrapping": source.opened.taken or None,
            "dialect": dialect.name,
            "prefix": dialect.prefix,
            "spellings": dict(dialect.spellings),
            "layouts": dict(dialect.layouts),
        },
        "dtype": dtype,
        "files": dict(sorted(files.items())),
        "decisions": lines(source.decisions),
    }
    return json.dumps(content, indent=2) + "\n"


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of a folder; a WeightsError if there is none, or it is no such manifest."""
    path = directory / MANIFEST
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format_version") != VERSION:
        raise WeightsError(f"{quoted(path)} is no manifest of version {VERSION}; convert the model again")
    return content
