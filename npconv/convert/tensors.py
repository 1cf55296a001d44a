"""A tensor on its way from one file to another, and what it turned out to hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npconv.errors import InputError, WeightsError
from npconv.files.dtypes import STORED, WIDENED, dtype_of, held_dtype
from npconv.files.stored import DeferredTensor, StoredTensor
from npconv.messages import listed, quoted

#: What ``--dtype`` takes -> the name in a safetensors file.
FLOATS = {"float64": "F64", "float32": "F32", "bfloat16": "BF16", "float16": "F16"}

#: Formats of 8-bit floats -> the one that every loader knows and that holds each of their numbers.
FLOAT8_AS = {"F8_E4M3": "F32", "F8_E5M2": "F32"}

#: From here on a number is rounded to infinity: half a step above the largest of the dtype.
_LIMITS = {"F16": 65520.0, "BF16": 255.5 * 2.0**120, "F32": (2.0**25 - 1) * 2.0**103}

#: The smallest number above zero; half of it and less becomes zero.
_LEAST = {"F16": 2.0**-24, "BF16": 2.0**-133, "F32": 2.0**-149}


class Pending:
    """A tensor of a file that is renamed and laid out anew now, and read only when it is written.

    It has the few operations that the layouts of the dialects use, and ``numpy.asarray`` makes it an array. Each time
    anew: nothing is kept.

    Parameters
    ----------
    source : ndarray or StoredTensor
        As `npconv.files.containers.open_checkpoint` gives it.
    name : str
        What to call it in errors.

    Attributes
    ----------
    shape : tuple of int
    stored : str
        The dtype in the names of safetensors, such as ``"BF16"``.
    dtype : dtype
        Of the array.
    """

    __slots__ = ("_source", "_steps", "dtype", "name", "shape", "stored")

    def __init__(self, source: Any, name: str, steps: tuple[Callable[[Any], Any], ...] = ()) -> None:
        self._source = source
        self._steps = steps
        self.name = name
        self.stored = source.stored if isinstance(source, StoredTensor) else dtype_of(source, f"tensor {quoted(name)}")
        self.dtype = held_dtype(self.stored)
        # One byte repeated has every shape and takes no memory.
        self.shape = self._after_steps(np.broadcast_to(np.uint8(0), tuple(source.shape))).shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that it takes in a file."""
        return self.size * STORED[self.stored].itemsize

    @property
    def T(self) -> Pending:  # noqa: N802 - as NumPy calls it
        """The tensor with its axes in the opposite order."""
        return self._then(lambda x: x.T)

    def reshape(self, *shape: Any) -> Pending:
        """Return the tensor in another shape."""
        return self._then(lambda x: x.reshape(*shape))

    def transpose(self, *axes: Any) -> Pending:
        """Return the tensor with its axes in another order."""
        return self._then(lambda x: x.transpose(*axes))

    def swapaxes(self, first: int, second: int) -> Pending:
        """Return the tensor with two axes exchanged."""
        return self._then(lambda x: x.swapaxes(first, second))

    def _then(self, step: Callable[[Any], Any]) -> Pending:
        return Pending(self._source, self.name, (*self._steps, step))

    def _after_steps(self, x: Any) -> Any:
        for step in self._steps:
            x = step(x)
        return x

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the array; what NumPy calls."""
        values = self._after_steps(np.asarray(self._source))
        return np.array(values, dtype, copy=copy)

    def __eq__(self, other: object) -> Any:
        return np.asarray(self) == other

    def __ne__(self, other: object) -> Any:
        return np.asarray(self) != other

    __hash__ = None  # type: ignore[assignment]  # compared by value


def pending(tensors: Mapping[str, Any]) -> dict[str, Pending]:
    """Return the tensors of a file, to be read when they are written.

    Raises
    ------
    WeightsError
        If one is of a dtype that no model has, such as complex numbers.
    """
    try:
        return {name: Pending(tensor, name) for name, tensor in tensors.items()}
    except InputError as error:
        raise WeightsError(str(error)) from None


@dataclass
class Findings:
    """What was seen in the numbers as they were written.

    `not_finite` maps names to the count of NaN and infinities, `vanished` to that of numbers that became zero.
    """

    not_finite: dict[str, int] = field(default_factory=dict)
    vanished: dict[str, int] = field(default_factory=dict)

    def sentences(self, dtype: str | None) -> list[str]:
        """Return what the user has to know about the numbers."""
        found = []
        if self.not_finite:
            places = listed([f"{count} in {name}" for name, count in self.not_finite.items()])
            found.append(f"warning: the weights hold NaN or infinity: {places}; they are kept as they are")
        if self.vanished:
            total = sum(self.vanished.values())
            found.append(f"warning: {total} numbers too small for {dtype} became 0, most in {_most(self.vanished)}")
        return found


def _most(counts: Mapping[str, int]) -> str:
    return max(counts, key=lambda name: counts[name])


class Outgoing(DeferredTensor):
    """A tensor as it is written: converted to a dtype, and looked at on the way.

    Parameters
    ----------
    tensor : Pending or ndarray
    name : str
        By which the new file knows it.
    stored : str
        The dtype in the names of safetensors.
    findings : Findings
        Filled when the tensor is written.
    """

    def __init__(self, tensor: Any, name: str, stored: str, findings: Findings) -> None:
        self.tensor = tensor
        self.name = name
        self.stored = stored
        self.findings = findings
        self.shape = tuple(tensor.shape)
        self.nbytes = self.size * STORED[stored].itemsize
        # Where NumPy lacks the dtype, the writer rounds.
        self.dtype = held_dtype(stored) if stored not in WIDENED else np.dtype(tensor.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the numbers; what NumPy calls.

        Raises
        ------
        WeightsError
            If a finite number becomes infinite in the new dtype.
        """
        values = np.asarray(self.tensor)
        if values.dtype.kind == "f" and values.size:
            self._look(values)
        with np.errstate(over="ignore"):
            return np.asarray(values.astype(self.dtype, copy=False), dtype)

    def _look(self, values: np.ndarray) -> None:
        """Note what is not finite, and what the new dtype cannot hold."""
        least, most = float(values.min()), float(values.max())  # NaN if there is one
        if not math.isfinite(least) or not math.isfinite(most):
            finite = np.isfinite(values)
            self.findings.not_finite[self.name] = int(values.size - np.count_nonzero(finite))
            rest = values[finite]
            least, most = (float(rest.min()), float(rest.max())) if rest.size else (0.0, 0.0)
        if self.stored not in _LIMITS or _holds(self.stored, values.dtype, getattr(self.tensor, "stored", "")):
            return
        if max(-least, most) >= _LIMITS[self.stored]:
            name = next(name for name, stored in FLOATS.items() if stored == self.stored)
            raise WeightsError(
                f"{quoted(self.name)} has numbers from {least:.6g} to {most:.6g}, which {name} cannot hold: they would "
                "become infinite; choose a wider dtype"
            )
        small = (values != 0) & (np.abs(values) <= _LEAST[self.stored] / 2)
        if count := int(np.count_nonzero(small)):
            self.findings.vanished[self.name] = count


def _holds(stored: str, dtype: np.dtype, before: str) -> bool:
    """Say whether a dtype holds every number of the one before."""
    if stored == before:
        return True
    return dtype.itemsize < held_dtype(stored).itemsize or (stored == "F32" and dtype.itemsize == 4)


def outgoing(
    tensors: Mapping[str, Any], dtype: str | None, findings: Findings, instead: Mapping[str, str] | None = None
) -> dict[str, Outgoing]:
    """Return tensors as they are to be written.

    Parameters
    ----------
    tensors : mapping of str to Pending or ndarray
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
        own = tensor.stored if isinstance(tensor, Pending) else usual
        if np.dtype(tensor.dtype).kind == "f":
            stored = FLOATS[dtype] if dtype else (instead or {}).get(own, own)
        elif name.endswith("num_batches_tracked"):
            stored = dtype_of(np.empty(0, tensor.dtype), name)
        else:
            raise WeightsError(f"tensor {quoted(name)} is stored as {own}, expected floating-point numbers")
        made[name] = Outgoing(tensor, name, stored, findings)
    return made


def usual_dtype(tensors: Mapping[str, Any]) -> str:
    """Return the floating-point dtype of most numbers, in the names of safetensors."""
    sizes: dict[str, int] = {}
    for tensor in tensors.values():
        if isinstance(tensor, Pending | Outgoing) and np.dtype(tensor.dtype).kind == "f":
            sizes[tensor.stored] = sizes.get(tensor.stored, 0) + tensor.size
    return max(sizes, key=lambda name: sizes[name], default="F32")


def codes(tensors: Mapping[str, Outgoing]) -> dict[str, str]:
    """Return the dtypes that NumPy lacks, by name: the argument `dtypes` of `npconv.files.safetensors.save`."""
    return {name: tensor.stored for name, tensor in tensors.items() if tensor.stored in WIDENED}
