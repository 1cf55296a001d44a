"""What a pickle is read as: plain values of Python, and these in the place of all that is not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from npconv.errors import WeightsError
from npconv.files.dtypes import STORED
from npconv.messages import quoted

#: Of a key or a global in characters.
MAX_NAME = 1000
#: Of dicts: an optimizer has one number for each of its parameters. A tuple counts as ten.
MAX_NUMBER_KEYS = 20_000


class Global(NamedTuple):
    """The name of a class or a function; nothing looks it up."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Skipped:
    """In the place of a value that is no tensor and is not made; `what` is the name of its class or function."""

    what: str
    #: Of a set.
    members: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        return self.what


@dataclass(eq=False)
class Object:
    """In the place of an object of any class: what it held, of which only tensors matter, as in a whole model."""

    what: str
    #: Its attributes.
    state: dict[Any, Any] = field(default_factory=dict)
    #: What was added to it, if it is a kind of dict.
    items: dict[Any, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True)
class Storage:
    """What a pickle says of the numbers behind some tensors."""

    #: Names them in the file.
    key: str
    #: A key of `npconv.files.dtypes.STORED`; None for a storage of bytes.
    dtype: str | None
    #: Of values of that dtype, or of bytes.
    count: int
    #: First value and number of values of the part that is meant, in files of the oldest versions.
    view: tuple[int, int] | None = None

    @property
    def itemsize(self) -> int:
        """The bytes of one value."""
        return STORED[self.dtype].itemsize if self.dtype else 1

    @property
    def size(self) -> int:
        """The bytes of all values."""
        return self.count * self.itemsize


@dataclass(frozen=True, eq=False)
class Tensor:
    """What a pickle says of a tensor: where in its storage it begins, and how far apart its values lie."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __str__(self) -> str:
        return "a tensor"


@dataclass(eq=False)
class NumpyType:
    """A dtype of NumPy: its text such as ``"f4"``, and the byte order that its state says."""

    text: str
    order: Literal["<", ">", "|", "="] = "<"

    def __str__(self) -> str:
        return "numpy.dtype"


@dataclass(eq=False)
class NumpyArray:
    """An array of NumPy, whose state has its bytes."""

    dtype: Any = None
    shape: Any = ()
    is_fortran: bool = False
    data: Any = b""

    def __str__(self) -> str:
        return "numpy.ndarray"


#: What may have a state, and stands for itself.
MADE = (Skipped, Object, Tensor, NumpyType, NumpyArray)


def checked_keys(keys: Collection[Any]) -> int:
    """Check the keys of a dict, and return how far they count towards `MAX_NUMBER_KEYS`.

    Raises
    ------
    WeightsError
        If the hash of one may be costly or be made to collide with others: nested tuples take exponential time, of
        numbers there are too many. The hashes of texts are random.
    """
    cost = 0
    for key in keys:
        if type(key) is str and len(key) <= MAX_NAME:
            continue
        parts = key if type(key) is tuple and len(key) <= 8 else (key,)
        if not all(map(_is_plain_key, parts)):
            raise WeightsError(f"expected short texts and 64-bit numbers as the keys of a dict, got {kind(key)}")
        cost += 1 if parts[0] is key else 10
    if cost > MAX_NUMBER_KEYS:
        raise WeightsError(f"expected at most {MAX_NUMBER_KEYS} numbers as the keys of dicts")
    return cost


def kind(value: Any) -> str:
    """Return what to call a value in an error."""
    return quoted(value) if type(value) in (Global, Skipped, Object) else f"a {type(value).__name__}"


def _is_plain_key(key: Any) -> bool:
    if type(key) is int:
        return -(2**63) <= key < 2**64
    if type(key) in (str, bytes):
        return len(key) <= MAX_NAME
    return type(key) in (Global, *MADE, bool, type(None))
