"""Tables that need not fit into memory: they lie in files, mapped, and are read a block of rows at a time."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from npconv.errors import UnavailableError
from npconv.messages import escape

#: Bytes of a block: so many stay in a core's own cache while they are worked on.
BLOCK = 2**20


@dataclass(frozen=True)
class Rows:
    """Some rows and columns of a table, copied only when they are taken: ``rows[:100]`` is an array.

    One of a table in a file with a name goes to another process of this machine as that name.

    Attributes
    ----------
    table : np.ndarray, (N, D)
    places : np.ndarray, (M,)
        Which rows, in which order.
    columns : slice
        Which columns, C of them.
    """

    table: np.ndarray
    places: np.ndarray
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """M and C."""
        return len(self.places), len(range(*self.columns.indices(self.table.shape[1])))

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the table."""
        return self.table.dtype

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, chosen: Any) -> np.ndarray:
        """Return rows as an array, by a slice or an array of places among these."""
        return np.asarray(self.table[self.places[chosen], self.columns])

    def __reduce__(self) -> tuple[Any, ...]:
        table = self.table
        if isinstance(table, np.memmap) and table.filename is not None:
            return _mapped, (str(table.filename), table.dtype, table.shape, self.places, self.columns)
        return Rows, (np.asarray(table), self.places, self.columns)


#: What is read in blocks: rows of a table in a file, or an array (M, C).
Table: TypeAlias = Rows | np.ndarray


def _mapped(file: str, dtype: Any, shape: tuple[int, ...], places: np.ndarray, columns: slice) -> Rows:
    """Return rows of a table that another process has in a file."""
    return Rows(np.memmap(file, dtype, "r", shape=shape), places, columns)


def blocks(table: Table) -> Iterator[slice]:
    """Yield the rows of a table (M, C) in blocks of about `BLOCK` bytes."""
    count = max(1, BLOCK // max(1, table.shape[1] * table.dtype.itemsize))
    return (slice(start, min(start + count, len(table))) for start in range(0, len(table), count))


def array_on_disk(shape: tuple[int, ...], dtype: Any, folder: Path, *, name: str | None = None) -> np.ndarray:
    """Return an array of zeros that lies in a file in a folder; without a `name`, it goes with the array.

    Raises
    ------
    UnavailableError
        If the disk is full.
    """
    size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
    path = None if name is None else folder / name
    try:
        with tempfile.TemporaryFile(dir=folder) if path is None else path.open("w+b") as file:
            if hasattr(os, "posix_fallocate"):  # a disk that is full is told now, and not when an array is written to
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return np.memmap(file if path is None else path, dtype, "r+", shape=shape)
    except OSError as error:
        raise UnavailableError(
            f"{escape(str(folder))}: expected room for {size:,} bytes of photos or their features ({error.strerror}); "
            "make some, or choose another disk: photos go to that of the output, features to that of TMPDIR"
        ) from error
