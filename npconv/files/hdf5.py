"""Keras's ``.h5``: names and arrays, nothing that could run.

The arrays are views of the mapped file wherever it stores them in one piece.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from npconv.errors import UnavailableError, WeightsError
from npconv.files.dtypes import DeferredArray
from npconv.files.settling import Budget

MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_OBJECTS = 100_000
MAX_DEPTH = 64


def read_hdf5(
    path: Any, buffer: memoryview, source: str
) -> tuple[dict[str, np.ndarray | DeferredArray], list[tuple[str, str]]]:
    """Return the arrays of an HDF5 file by their full names, and what was skipped.

    In a file of Keras the names are those of the variables, as in Keras: it puts the variables of each layer of the
    model into a group of the layer's name, ``convnext`` before ``tf_conv_next_model/convnext/layernorm/beta:0``.

    Links to other files and to other names are skipped: they could lead anywhere. Attributes are not looked at: a
    damaged one makes the library read without end. The reading is that of the HDF5 library, which may crash on damaged
    files; take them from a source you trust.

    Raises
    ------
    UnavailableError
        If h5py is not installed.
    WeightsError
        If the file is damaged or claims more than a file of its size can hold.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        raise UnavailableError(f"{source} is an HDF5 file, which needs h5py: pip install h5py") from None
    reader = _Hdf5(h5py, buffer, source)
    try:
        with h5py.File(path, "r") as file:
            reader.group(file, ())
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, MemoryError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{source} cannot be read by the HDF5 library: {reason}; download it again") from None
    return _by_variable(reader.arrays), reader.skipped


def _by_variable(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return arrays without the groups of Keras before their names, if each name repeats that of its first group."""
    variables = {}
    for name, array in arrays.items():
        layer, _, variable = name.partition("/")
        # The class token of a CvT is cvt.encoder.stages.2.cls_token:0, whatever stands before other variables.
        if f"/{layer}/" not in f"/{variable}" and not variable.startswith(f"{layer}."):
            return arrays
        variables[variable] = array
    return variables if len(variables) == len(arrays) else arrays


class _Hdf5:
    """Walks through the groups of a file."""

    def __init__(self, h5py: Any, buffer: memoryview, source: str) -> None:
        self.h5py = h5py
        self.buffer = buffer
        self.source = source
        self.budget = Budget(len(buffer), source)
        self.arrays: dict[str, Any] = {}
        self.skipped: list[tuple[str, str]] = []
        self.count = 0

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
                self.skipped.append((name, f"an HDF5 {type(link).__name__}"))
                continue
            child = group[key]
            if isinstance(child, self.h5py.Group):
                self.group(child, (*path, key))
            elif isinstance(child, self.h5py.Dataset):
                self.dataset(child, name)

    def dataset(self, dataset: Any, name: str) -> None:
        """Read one dataset, or note why not."""
        dtype = dataset.dtype
        if dataset.is_virtual or dataset.external or dataset.shape is None:
            self.skipped.append((name, "an HDF5 dataset without numbers of its own"))
            return
        if dtype.kind not in "fiub" or dtype.itemsize > 8:
            self.skipped.append((name, f"an HDF5 dataset of {dtype}"))
            return
        self.budget.take(dataset.size * dtype.itemsize, name)
        offset = dataset.id.get_offset()
        size = dataset.size * dtype.itemsize
        is_there = offset is not None and size > 0 and offset + size <= len(self.buffer)
        if is_there and dataset.chunks is None and dtype.kind != "b":
            array = np.ndarray(dataset.shape, dtype, self.buffer, offset)
        else:
            array = np.asarray(dataset[()])
        if dtype.kind == "b":
            self.arrays[name] = DeferredArray(array.view(np.uint8), "BOOL")
            return
        array = array.astype(dtype.newbyteorder("="), copy=False)
        array.flags.writeable = False
        self.arrays[name] = array
