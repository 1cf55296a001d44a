"""What a call in a pickle stands for. Nothing here is called.

Source: ``torch/_utils.py``, ``torch/storage.py`` and ``torch/serialization.py`` of PyTorch 2.13, and ``__reduce__`` of
NumPy's arrays and dtypes, versions 1.0 to 2.3.
"""

from __future__ import annotations

from typing import Any

from npconv.errors import WeightsError
from npconv.files.dtypes import STORED
from npconv.files.header import MAX_DIMENSIONS
from npconv.files.pickle_names import (
    BOUND,
    BYTES,
    DICTS,
    DTYPES,
    REBUILD,
    SETS,
    STORAGES,
    forbidden,
    is_known,
    is_skipped,
)
from npconv.files.pickle_values import (
    Global,
    NumpyArray,
    NumpyType,
    Object,
    Skipped,
    Storage,
    Tensor,
    checked_keys,
)
from npconv.messages import quoted


def call(function: Global, arguments: tuple[Any, ...]) -> Any:
    """Return what a call stands for.

    Raises
    ------
    WeightsError
        If it stands for nothing, or its arguments are not those that PyTorch writes.
    """
    name = function.name
    if name.endswith("._reconstructor"):
        return _reconstructed(name, arguments)
    if name in SETS and len(arguments) == 1 and type(arguments[0]) is list:
        return Skipped(name, arguments[0])
    if name in BYTES and not arguments:
        return b""
    if name in BOUND:
        return _bound(name, arguments)
    if is_skipped(name):
        return Skipped(name)
    if not is_known(name):
        return _stranger(name)
    if name in DICTS:
        return _dict(name, arguments)
    if name == "collections.defaultdict":
        return {}
    if name == "torch.Size" and len(arguments) == 1:
        return _sizes(arguments[0], "size")
    if name.startswith((f"{REBUILD}tensor", f"{REBUILD}parameter")):
        return _rebuild(name, arguments)
    if name == "torch._tensor._rebuild_from_type_v2" and len(arguments) == 4:
        inner, _, inside, _ = arguments
        if type(inner) is Global and inner.name.startswith(REBUILD) and type(inside) is tuple:
            return call(inner, inside)
    made = _of_numpy(name, arguments)
    if made is None:
        raise WeightsError(f"the pickle calls {name} with {len(arguments)} arguments that PyTorch does not write")
    return made


def new(kind: Global, arguments: tuple[Any, ...]) -> Any:
    """Return what a new object of a class stands for, before its state is set; errors as of `call`."""
    return call(kind, arguments) if is_known(kind.name) else Object(kind.name)


def set_state(target: Any, state: Any) -> None:
    """Keep of an object's state what may lead to tensors; the state is not copied.

    Raises
    ------
    WeightsError
        If an array's state is not what NumPy writes.
    """
    if type(target) is Object:
        parts = state if type(state) is tuple and len(state) == 2 else (state,)
        target.state = next((part for part in parts if type(part) is dict), {})
    elif type(target) is NumpyType and type(state) is tuple and len(state) > 1 and state[1] in ("<", ">", "|", "="):
        target.order = state[1]
    elif type(target) is NumpyArray:
        if type(state) is not tuple or len(state) != 5:
            raise WeightsError("an array has a state that NumPy does not write; save it again")
        _, target.shape, target.dtype, is_fortran, target.data = state
        target.is_fortran = bool(is_fortran)


def persistent(identity: Any) -> Any:
    """Return the storage that a persistent identifier names; or the class, which older files have with its source.

    Raises
    ------
    WeightsError
        If it names none.
    """
    if type(identity) is tuple and len(identity) in (5, 6) and identity[0] == "storage":
        _, kind, key, _, count, *view = identity
        if type(kind) is Global and kind.name in STORAGES and type(key) is str and _is_size(count):
            return Storage(key, STORAGES[kind.name], count, _view(view[0]) if view else None)
    if type(identity) is tuple and len(identity) == 4 and identity[0] == "module" and type(identity[1]) is Global:
        return identity[1]
    raise WeightsError("the pickle refers to something outside it that is no storage; download it again")


def _view(view: Any) -> tuple[int, int] | None:
    """Return first value and number of values from what the oldest versions write of a storage in another."""
    if view is None:
        return None
    if type(view) is tuple and len(view) == 3 and _is_size(view[1]) and _is_size(view[2]):
        return view[1], view[2]
    raise WeightsError("a storage is a view of another that no version of PyTorch writes; download it again")


def _stranger(name: str) -> Object:
    """Return what stands for an object of an unknown class; a function is refused, as it was meant to be run."""
    if not name.rpartition(".")[2].lstrip("_")[:1].isupper():
        raise forbidden(name)
    return Object(name)


def _bound(name: str, arguments: tuple[Any, ...]) -> Skipped:
    """Return what stands for a method of an object in the pickle; what belongs to a name outside it is refused."""
    if len(arguments) == 2 and type(arguments[0]) in (Object, Skipped) and type(arguments[1]) is str:
        return Skipped(f"the method {arguments[1]} of {arguments[0].what}")
    raise forbidden(name)


def _reconstructed(name: str, arguments: tuple[Any, ...]) -> Any:
    """Return what stands for an object as the protocols 0 and 1 make them: class, base class, value of the base."""
    kind = arguments[0] if arguments else None
    if type(kind) is not Global:
        return Skipped(name)
    return Skipped(kind.name) if is_known(kind.name) else Object(kind.name)


def _dict(name: str, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Return the dict that a call without arguments, or with a list of pairs, stands for."""
    pairs = arguments[0] if len(arguments) == 1 else []
    if type(pairs) is dict:
        return dict(pairs)
    right = len(arguments) <= 1 and type(pairs) in (list, tuple)
    if not right or not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise WeightsError(f"the pickle makes a {name} of something that is no list of pairs; download it again")
    checked_keys([key for key, _ in pairs])
    return dict(pairs)


def _of_numpy(name: str, arguments: tuple[Any, ...]) -> Any:
    """Return an array or a dtype of NumPy, or the bytes that protocol 2 writes as text; None for other calls."""
    function = name.rpartition(".")[2]
    if function == "_reconstruct":
        return NumpyArray()
    if function == "dtype" and arguments and type(arguments[0]) is str:
        return NumpyType(arguments[0])
    if function == "_frombuffer" and len(arguments) == 4:
        data, dtype, shape, order = arguments
        return NumpyArray(dtype, shape, order == "F", data)
    if function.startswith("_rebuild") and arguments and type(arguments[0]) is NumpyArray:
        return arguments[0]
    if name == "_codecs.encode":
        return _encoded(arguments)
    return None


def _encoded(arguments: tuple[Any, ...]) -> Any:
    """Return the bytes that a text of letters up to U+00FF stands for, as protocol 2 of Python 3 has no other way."""
    if len(arguments) == 2 and type(arguments[0]) is str and arguments[1] in ("latin1", "latin-1"):
        try:
            return arguments[0].encode("latin-1")
        except UnicodeEncodeError:
            pass
    return Skipped("_codecs.encode")


def _rebuild(name: str, arguments: tuple[Any, ...]) -> Any:
    """Return the tensor that a call of a rebuild function stands for."""
    if "parameter" in name:
        if arguments and type(arguments[0]) in (Tensor, Skipped):
            return arguments[0]
        raise WeightsError(f"the pickle calls {name} with something that is no tensor; download it again")
    fewest = {"tensor": 4, "tensor_v2": 6, "tensor_v3": 7}[name.removeprefix(REBUILD)]
    if not fewest <= len(arguments) <= 8 or type(arguments[0]) is not Storage:
        raise WeightsError(f"the pickle calls {name} with other arguments than PyTorch writes; download it again")
    storage, offset, shape, strides = arguments[:4]
    dtype = storage.dtype
    if name.endswith("_v3"):
        asked = arguments[6]
        dtype = DTYPES.get(asked.name) if type(asked) is Global else None
    if dtype not in STORED:
        raise WeightsError(f"the pickle calls {name} without a dtype that npconv reads")
    shape = _sizes(shape, "size")
    strides = _sizes(strides, "stride")
    if len(shape) != len(strides) or not _is_size(offset):
        raise WeightsError(f"a tensor has {len(shape)} sizes, {len(strides)} strides and offset {quoted(offset)}")
    return Tensor(storage, dtype, offset, shape, strides)


def _sizes(values: Any, what: str) -> tuple[int, ...]:
    """Check sizes or strides."""
    if is_sizes(values):
        return tuple(values)
    shown = quoted(values) if type(values) in (tuple, list) and all(type(v) is int for v in values[:100]) else "none"
    raise WeightsError(f"a tensor has the {what} {shown}, expected at most {MAX_DIMENSIONS} numbers from 0 to 2**63")


def is_sizes(values: Any) -> bool:
    """Say whether a value is the sizes or strides of an array that NumPy can have."""
    return type(values) in (tuple, list) and len(values) <= MAX_DIMENSIONS and all(map(_is_size, values))


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63
