"""Features on disk: a file for each model, with a record for each photo that is never changed.

A record is the SHA-256 of the photo, its features, and a checksum of both. Records are appended, so whatever ends the
process, those that are whole stay; one that is not, or that a disk has changed, is passed over and made again.
"""

from __future__ import annotations

import mmap
import os
import warnings
import zlib
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import InputError, NpconvWarning
from npconv.files.locks import open_locked, release, why_not_written
from npconv.messages import escape

#: How a file begins; other ones are begun anew.
MAGIC = b"npconv features 1\n".ljust(32)


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
        self._record = np.dtype([("digest", "V32"), ("features", "<f4", (width,)), ("check", "<u4")])
        self._records = np.empty(0, self._record)
        self._places: dict[bytes, int] = {}
        self._file: FileIO | None = None
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
        """Map the records, and go to their end."""
        count = max(0, os.fstat(file.fileno()).st_size - len(MAGIC)) // self._record.itemsize
        if file.read(len(MAGIC)) != MAGIC:
            count = 0
            file.seek(0)
            file.truncate(0)
            file.write(MAGIC)
        if count:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._records = np.frombuffer(content, self._record, count, len(MAGIC))
            self._places = {digest.tobytes(): place for place, digest in enumerate(self._records["digest"])}
        end = len(MAGIC) + count * self._record.itemsize
        file.truncate(end)
        file.seek(end)

    def find(self, digest: bytes) -> np.ndarray | None:
        """Return the features (D,) of the photo with a hash, None if they are not there."""
        place = self._places.get(digest)
        if place is None:
            return None
        record = self._records[place]
        return record["features"] if record["check"] == _checksum(digest, record["features"]) else None

    def add(self, digest: bytes, features: np.ndarray) -> None:
        """Keep the features of a photo; if the disk is full, say so once, and keep none from then on."""
        if self._file is None:
            return
        record = np.array((np.void(digest), features, _checksum(digest, features)), self._record)
        try:
            self._file.write(record.tobytes())
        except OSError as error:
            warnings.warn(f"features are kept no longer: {why_not_written(error)}", NpconvWarning, stacklevel=4)
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            release(self._file)
            self._file = None

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _checksum(digest: bytes, features: np.ndarray) -> int:
    """Return a checksum of a record."""
    return zlib.crc32(np.ascontiguousarray(features, "<f4").tobytes(), zlib.crc32(digest))
