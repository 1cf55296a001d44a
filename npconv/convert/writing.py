"""Writing a folder so that it appears whole or not at all, and knowing the hash of every file in it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npconv._version import __version__
from npconv.convert.dialects import Dialect
from npconv.errors import InputError, WeightsError
from npconv.files.checkpoint import INDEX_FILE, index_json, is_weight_file, shard_files
from npconv.files.disk import hash_file, read_json, write_file
from npconv.files.dtypes import DeferredArray
from npconv.files.safetensors import file_chunks
from npconv.messages import listed, quoted
from npconv.models.decisions import lines

if TYPE_CHECKING:
    from npconv.convert.source import Source

#: Where the files of a folder came from, and the hash of each.
MANIFEST = "npconv_manifest.json"
VERSION = 1

#: Without it some readers refuse a file.
METADATA = {"format": "pt"}


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
    """Refuse a folder that holds another model.

    Parameters
    ----------
    directory : Path
        Need not exist.
    names : collection of str
        The files that are to be written.
    force : bool
        Whether they may be replaced.

    Raises
    ------
    InputError
        If there is something of that name already.
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


@contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """Give a folder on the same disk to write in; it is gone afterwards, with what has not been published.

    Raises
    ------
    WeightsError
        If no folder can be made there.
    """
    place = directory.absolute()
    while not place.is_dir():
        place = place.parent
    staging = place / f".npconv-{secrets.token_hex(8)}.tmp"
    try:
        staging.mkdir()
    except OSError as error:
        raise WeightsError(f"cannot write into {quoted(place)}: {error.strerror}; choose another folder") from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


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
        if not os.path.lexists(directory):
            directory.absolute().parent.mkdir(parents=True, exist_ok=True)
            os.rename(staging, directory)
            return
        made = sorted(os.listdir(staging), key=lambda name: name == MANIFEST)
        (directory / MANIFEST).unlink(missing_ok=True)  # it speaks of the files that go
        stale = [name for name in _taken(directory, names) if name not in made]
        for name in made:  # the manifest last: where it is, the others are
            os.replace(staging / name, directory / name)
        for name in stale:
            (directory / name).unlink()
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot write {quoted(directory)}: {error}; check the folder") from error


def manifest_text(
    source: Source, dialect: Dialect, dtype: str, hashes: Mapping[str, str], files: Mapping[str, str]
) -> str:
    """Return the manifest of a converted folder as JSON.

    Parameters
    ----------
    source : Source
    dialect : Dialect
        Of the source, with all that is needed to give its names back.
    dtype : str
        Of most numbers written.
    hashes, files : mapping of str to str
        Names of the files read, and of those written -> SHA-256.
    """
    content = {
        "format_version": VERSION,
        "written_by": f"npconv {__version__}",
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
    """Return the manifest of a folder.

    Raises
    ------
    WeightsError
        If there is none, or it is no such manifest.
    """
    path = directory / MANIFEST
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format_version") != VERSION:
        raise WeightsError(f"{quoted(path)} is no manifest of version {VERSION}; convert the model again")
    return content
