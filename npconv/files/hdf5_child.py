"""The process that opens HDF5 files: the library may crash, hang or take all memory in it, and nothing else is hurt.

What it finds goes to its standard output, one line of JSON an object; the numbers follow a line if they do not lie in
one piece in the file. :mod:`npconv.files.hdf5` reads that, and believes it no more than a file.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from typing import Any, BinaryIO

import numpy as np

from npconv.errors import WeightsError
from npconv.files.settling import Budget

MAX_OBJECTS = 100_000
MAX_DEPTH = 64

#: Memory beside what the arrays may take; the library itself needs a tenth of it.
_MEMORY = 1 << 30


def main(order: dict[str, Any]) -> None:
    """Read the file of an order to standard output: its ``path``, ``start`` and ``stop`` in it, and ``seconds``."""
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:
        try:
            _limit(order["seconds"], order["stop"] - order["start"])
            h5py = importlib.import_module("h5py")
            _Reader(h5py, order, out).read()
            _tell(out, end=True)
        except WeightsError as error:
            _tell(out, error=str(error))
        except Exception as error:  # whatever the library says of a damaged file
            _tell(out, reason=" ".join(str(error).split())[:500] or type(error).__name__)


def _tell(out: BinaryIO, **facts: Any) -> None:
    out.write(json.dumps(facts).encode() + b"\n")


def _limit(seconds: int, size: int) -> None:
    """Let the system end this process where it can, if it runs too long or takes too much, and leave no core."""
    try:
        import resource
        import signal
    except ImportError:  # not on Windows
        return
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = taken + _MEMORY + 2 * Budget(size, "").size
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))


class _Reader:
    """Walks through the groups of a file."""

    def __init__(self, h5py: Any, order: dict[str, Any], out: BinaryIO) -> None:
        self.h5py = h5py
        self.path, self.start, self.stop = order["path"], order["start"], order["stop"]
        self.out = out
        self.budget = Budget(self.stop - self.start, order["source"])
        self.source = order["source"]
        self.count = 0

    def read(self) -> None:
        """Read the file, or the part of it that is one."""
        if self.start == 0:
            file: Any = self.path
        else:
            with open(self.path, "rb") as whole:
                whole.seek(self.start)
                file = io.BytesIO(whole.read(self.stop - self.start))
        with self.h5py.File(file, "r") as root:
            self.group(root, ())

    def group(self, group: Any, path: tuple[str, ...]) -> None:
        """Read all below one group."""
        if len(path) > MAX_DEPTH:
            raise WeightsError(f"{self.source} nests groups more than {MAX_DEPTH} deep, expected weights")
        for key in group:
            self.count += 1
            if self.count > MAX_OBJECTS:
                raise WeightsError(f"{self.source} holds more than {MAX_OBJECTS} objects, expected weights")
            name = "/".join((*path, key))
            link = group.get(key, getlink=True)
            if not isinstance(link, self.h5py.HardLink):
                _tell(self.out, name=name, skipped=f"an HDF5 {type(link).__name__}")
                continue
            child = group[key]
            if isinstance(child, self.h5py.Group):
                self.group(child, (*path, key))
            elif isinstance(child, self.h5py.Dataset):
                self.dataset(child, name)

    def dataset(self, dataset: Any, name: str) -> None:
        """Tell where a dataset is, or what it holds, or why it is left out."""
        dtype = dataset.dtype
        if dataset.is_virtual or dataset.external or dataset.shape is None:
            _tell(self.out, name=name, skipped="an HDF5 dataset without numbers of its own")
            return
        if dtype.kind not in "fiub" or dtype.itemsize > 8:
            _tell(self.out, name=name, skipped=f"an HDF5 dataset of {dtype}")
            return
        size = dataset.size * dtype.itemsize
        self.budget.take(size, name)
        about = {"name": name, "dtype": dtype.str, "shape": list(dataset.shape)}
        offset = dataset.id.get_offset()
        if offset is not None and dataset.chunks is None and 0 < size <= self.stop - self.start - offset:
            _tell(self.out, **about, offset=offset)
            return
        numbers = np.ascontiguousarray(dataset[()])
        _tell(self.out, **about, offset=None)
        self.out.write(numbers.reshape(-1).view(np.uint8).data)
