"""Keras's ``.h5``, ``.weights.h5`` and ``.keras``: names and arrays, nothing that could run.

The HDF5 library crashes on some damaged files and reads others without end, so it is loaded in a process of its own
(:mod:`~npconv.files.hdf5_child`), which may die. The arrays are views of the mapped file wherever it stores them in
one piece.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import threading
from typing import IO, Any, NamedTuple

import numpy as np

from npconv.errors import NotInstalledError, WeightsError
from npconv.files.disk import parse_json
from npconv.files.dtypes import DeferredArray
from npconv.files.npy import is_of_numbers
from npconv.files.pickle_calls import is_sizes
from npconv.files.settling import Budget
from npconv.messages import quoted

MAGIC = b"\x89HDF\r\n\x1a\n"

#: A whole file of 1 GB of packed numbers takes 10 s.
_SECONDS = 60
_BYTES_A_SECOND = 20_000_000
#: Of what the process says of one object, in bytes.
_LINE = 100_000
#: Groups that Keras has beside the model, and that with the model where an optimizer is beside it.
_OPTIMIZERS = ("optimizer_weights", "optimizer")
_MODEL = "model_weights"
_PROGRAM = (
    "import json, sys; order = json.load(sys.stdin); sys.path[:] = order['modules']; "
    "from npconv.files.hdf5_child import main; main(order)"
)


class Hdf5(NamedTuple):
    """What is in a file: arrays and what was skipped, by their full names; and what training has beside the model."""

    arrays: dict[str, np.ndarray | DeferredArray]
    skipped: list[tuple[str, str]]
    taken: str
    others: dict[str, int]


def read_hdf5(path: str | os.PathLike[str], buffer: memoryview, source: str, start: int = 0) -> Hdf5:
    """Return the arrays of an HDF5 file, which is the `buffer` of the file at `path` that begins at `start`.

    In a file of Keras the names are those of the variables, as in Keras: it puts the variables of each layer of the
    model into a group of the layer's name, ``convnext`` before ``tf_conv_next_model/convnext/layernorm/beta:0``.

    Links to other files and to other names are skipped: they could lead anywhere. Attributes are not looked at.

    Raises
    ------
    NotInstalledError
        If h5py is not installed.
    WeightsError
        If the file is damaged or claims more than a file of its size can hold.
    """
    if importlib.util.find_spec("h5py") is None:
        raise NotInstalledError(f"{source} is an HDF5 file, which needs h5py: pip install h5py")
    answer = _Answer(buffer, source)
    order = {"path": os.path.abspath(path), "start": start, "stop": start + len(buffer), "source": source}
    status = _ask({**order, "modules": [*map(str, sys.path)]}, answer)
    if status is not None:
        raise _ended(status, source)
    return _of_the_model(answer.arrays, answer.skipped)


def _ask(order: dict[str, Any], answer: _Answer) -> int | None:
    """Have a process carry out an order; return its exit status if it ended before it had told all."""
    seconds = _SECONDS + (order["stop"] - order["start"]) // _BYTES_A_SECOND
    options = ["-I", "-B"] if sys.dont_write_bytecode else ["-I"]
    pipe = subprocess.PIPE
    command = [sys.executable, *options, "-c", _PROGRAM]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as child:
        clock = threading.Timer(seconds, child.kill)
        clock.daemon = True
        clock.start()
        stdin: Any = child.stdin
        stdout: Any = child.stdout
        try:
            with contextlib.suppress(OSError), stdin:  # it may have died before it read what to do
                stdin.write(json.dumps({**order, "seconds": seconds}).encode())
            return None if answer.read(stdout) else child.wait()
        finally:
            clock.cancel()
            child.kill()


def _ended(status: int, source: str) -> WeightsError:
    """Return the error for a process that ended before it had told all."""
    ended_by_us = (-signal.SIGALRM, -signal.SIGKILL) if os.name == "posix" else (1,)
    why = "came to no end with it or took too much memory" if status in ended_by_us else f"crashed on it ({status})"
    return WeightsError(f"{source} is damaged: the HDF5 library {why}; download it again")


class _Answer:
    """What a process says of a file; taken for no more than a file's own word."""

    def __init__(self, buffer: memoryview, source: str) -> None:
        self.buffer = buffer
        self.source = source
        self.budget = Budget(len(buffer), source)
        self.arrays: dict[str, Any] = {}
        self.skipped: list[tuple[str, str]] = []

    def read(self, stream: IO[bytes]) -> bool:
        """Read all, and say whether it came to its end."""
        while (line := stream.readline(_LINE)).endswith(b"\n"):
            facts = parse_json(memoryview(line), self.source)
            if "end" in facts:
                return True
            if "error" in facts:
                raise WeightsError(facts["error"])
            if "reason" in facts:
                reason = facts["reason"]
                raise WeightsError(f"{self.source} cannot be read by the HDF5 library: {reason}; download it again")
            if "skipped" in facts:
                self.skipped.append((facts["name"], facts["skipped"]))
            elif not self.dataset(stream, **facts):
                return False
        if len(line) == _LINE:
            raise WeightsError(f"{self.source} has a name of more than {_LINE} letters, expected weights")
        return False

    def dataset(self, stream: IO[bytes], name: str, dtype: str, shape: list[int], offset: int | None) -> bool:
        """Make the array of a dataset, and say whether all its numbers are there."""
        if not (is_of_numbers(dtype) and is_sizes(shape)):
            raise WeightsError(f"{self.source}: dataset {quoted(name)} has no shape and dtype of an array")
        stored = np.dtype(dtype)
        size = math.prod(shape) * stored.itemsize
        self.budget.take(size, name)
        if offset is None:
            data: Any = stream.read(size)
            offset = 0
        else:
            data = self.buffer
        if offset + size > len(data):
            return False
        array: np.ndarray = np.ndarray(tuple(shape), stored, data, offset) if size else np.empty(tuple(shape), stored)
        if stored.kind == "b":
            self.arrays[name] = DeferredArray(array.view(np.uint8), "BOOL")
            return True
        array = array.astype(stored.newbyteorder("="), copy=False)
        array.flags.writeable = False
        self.arrays[name] = array
        return True


def _of_the_model(arrays: dict[str, Any], skipped: list[tuple[str, str]]) -> Hdf5:
    """Return what is of the model: a file of Keras may have an optimizer beside it, and the model in a group."""
    others: dict[str, int] = {}
    for name in arrays:
        first = name.partition("/")[0]
        if first in _OPTIMIZERS:
            others[first] = others.get(first, 0) + 1
    model = {name: array for name, array in arrays.items() if name.partition("/")[0] not in others}
    taken = _MODEL if model and all(name.startswith(f"{_MODEL}/") for name in model) else ""
    if taken:
        model = {name.removeprefix(f"{_MODEL}/"): array for name, array in model.items()}
    return Hdf5(_by_variable(model), skipped, taken, others)


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
