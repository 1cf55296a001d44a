"""Features on disk: a file for each model, with a record for each photo that is never changed.

A record is the SHA-256 of the photo, its features, and a checksum of both. Records are appended, so whatever ends the
process, those that are whole stay; one that is not, or that a disk has changed, is passed over and made again. Memory
holds 16 bytes of each, by which it is found in the file.

The files of the models that were used longest ago go when all of them together become larger than `MOST_BYTES`.
"""

from __future__ import annotations

import os
import re
import warnings
import zlib
from array import array
from bisect import bisect_left
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import InputError, NpconvWarning
from npconv.files.locks import open_locked, release, unlink_locked, why_not_written
from npconv.messages import escape, shown

#: How a file begins; other ones are begun anew.
MAGIC = b"npconv features 1\n".ljust(32)

#: What the files may take together, in bytes, if `VARIABLE` does not say it: a million photos of an embedded model.
MOST_BYTES = 2**30

#: Of the environment: what the files may take together, in MB.
VARIABLE = "NPCONV_FEATURES_MB"

#: What the files are called; others in the folder are left alone.
NAME = re.compile(r"[0-9a-f]{32}\.npconv")

#: Records that are read at a time to find out what there is.
_AT_ONCE = 1024


class FeatureCache:
    """Features by the hash of a photo, kept in a file; in none if there is no `path`, or it cannot be written.

    One process at a time has the file; another one works without, after a warning.

    Parameters
    ----------
    path : Path, optional
    width : int
        D, the numbers of a photo.
    """

    def __init__(self, path: Path | None, width: int) -> None:
        self._width = width
        self._record = np.dtype([("digest", "V32"), ("features", "<f4", (width,)), ("check", "<u4")])
        # The beginnings of the hashes, sorted, and the numbers of their records.
        self._keys, self._places = array("Q"), array("q")
        self._file: FileIO | None = None
        self._is_full = False
        self._path = path
        self._most = most_bytes()
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        """Open the file, or say why the features are not kept."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_locked(path)
            self._read(self._file)
        except (OSError, InputError) as error:
            reason = str(error) if isinstance(error, InputError) else why_not_written(error)
            warnings.warn(f"{escape(str(path))}: features are not kept there: {reason}", NpconvWarning, stacklevel=4)
            self.close()

    def _read(self, file: FileIO) -> None:
        """Find out which records there are; what stands after the last whole one goes."""
        count = max(0, os.fstat(file.fileno()).st_size - len(MAGIC)) // self._record.itemsize
        if file.read(len(MAGIC)) != MAGIC:
            count = 0
            file.seek(0)
            file.truncate(0)
            file.write(MAGIC)
        keys = np.zeros(count, np.uint64)
        for start in range(0, count, _AT_ONCE):
            content = file.read(min(_AT_ONCE, count - start) * self._record.itemsize)
            digests = np.frombuffer(content, self._record)["digest"]
            keys[start : start + len(digests)] = np.ascontiguousarray(digests).view(">u8")[::4]
        order = np.argsort(keys, kind="stable")
        self._keys.frombytes(keys[order].tobytes())
        self._places.frombytes(order.astype(np.int64).tobytes())
        file.truncate(len(MAGIC) + count * self._record.itemsize)
        if self._path is not None:
            os.utime(self._path)  # it was used now

    def find(self, digest: bytes) -> np.ndarray | None:
        """Return the features (D,) of the photo with a hash, None if they are not there."""
        key = int.from_bytes(digest[:8], "big")
        number = bisect_left(self._keys, key)
        while self._file is not None and number < len(self._keys) and self._keys[number] == key:
            self._file.seek(len(MAGIC) + self._places[number] * self._record.itemsize)
            content = self._file.read(self._record.itemsize)
            features = np.frombuffer(content, "<f4", self._width, len(digest))
            if content.startswith(digest) and content[-4:] == _checksum(digest, features).to_bytes(4, "little"):
                return features
            number += 1
        return None

    def add(self, digest: bytes, features: np.ndarray) -> None:
        """Keep the features of a photo; if the disk is full, say so once, and keep none from then on."""
        if self._file is None or self._is_full:
            return
        record = np.array((np.void(digest), features, _checksum(digest, features)), self._record)
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(record.tobytes())
        except OSError as error:
            warnings.warn(f"features are kept no longer: {why_not_written(error)}", NpconvWarning, stacklevel=4)
            self._is_full = True

    def close(self) -> None:
        """Let go of the file, and of others if all are too large."""
        if self._file is not None:
            release(self._file)
            self._file = None
            if self._path is not None:
                let_go(self._path.parent, self._most, kept=self._path)

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def most_bytes() -> int:
    """Return what the files may take together, in bytes: `MOST_BYTES`, or what the environment says."""
    said = os.environ.get(VARIABLE, "")
    if said and not (said.isascii() and said.isdigit()):
        raise InputError(
            f"expected {VARIABLE} to be a whole number of MB, got {shown(said)}; unset it for the usual one"
        )
    return int(said) * 2**20 if said else MOST_BYTES


def let_go(folder: Path, most: int, *, kept: Path) -> None:
    """Remove the files of features that were used longest ago, until all in a folder take `most` bytes.

    One file is kept, and what is not npconv's, or in use; whatever cannot be removed stays.
    """
    found = []
    with suppress(OSError):
        for entry in os.scandir(folder):
            if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                found.append((status.st_mtime_ns, entry.path, status.st_size))
    total = sum(size for _, _, size in found)
    for _, path, size in sorted(found):
        if total <= most:
            return
        if path != str(kept) and _remove(path):
            total -= size


def _remove(path: str) -> bool:
    """Remove a file of features that nobody uses; tell whether it is gone."""
    try:
        file = open_locked(path)
    except (OSError, InputError):
        return False
    if file.read(len(MAGIC)) != MAGIC:
        release(file)
        return False
    unlink_locked(file, path)
    return not os.path.lexists(path)


def _checksum(digest: bytes, features: np.ndarray) -> int:
    """Return a checksum of a record."""
    return zlib.crc32(np.ascontiguousarray(features, "<f4").tobytes(), zlib.crc32(digest))
