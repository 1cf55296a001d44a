"""The closed table: every global that a pickle may name, and what a call of it stands for. Nothing here is called.

Three kinds are known: what tensors are made of (storages, dtypes, the rebuild functions), what stands for a plain
value (``collections.OrderedDict``, ``torch.Size``), and what training checkpoints carry along, which is skipped: its
name is kept, its arguments, state and items are dropped. Everything else is refused by name.

Source: ``torch/_utils.py``, ``torch/storage.py`` and ``torch/serialization.py`` of PyTorch 2.13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from npconv.errors import WeightsError
from npconv.files.dtypes import STORED
from npconv.files.header import MAX_DIMENSIONS
from npconv.messages import quoted

#: Of a key or a global in characters.
MAX_NAME = 1000


class Global(NamedTuple):
    """A name of the closed table."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Skipped:
    """In the place of a value that is no tensor and is not made; `what` is the name of its class or function."""

    what: str

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


#: A dtype as safetensors calls it -> as PyTorch does, and its storage's name if there are such.
_NAMES = {
    "F64": ("float64", "Double"),
    "F32": ("float32", "Float"),
    "F16": ("float16", "Half"),
    "BF16": ("bfloat16", "BFloat16"),
    "F8_E4M3": ("float8_e4m3fn", ""),
    "F8_E5M2": ("float8_e5m2", ""),
    "I64": ("int64", "Long"),
    "I32": ("int32", "Int"),
    "I16": ("int16", "Short"),
    "I8": ("int8", "Char"),
    "U64": ("uint64", ""),
    "U32": ("uint32", ""),
    "U16": ("uint16", ""),
    "U8": ("uint8", "Byte"),
    "BOOL": ("bool", "Bool"),
}
#: Where the classes of storages are.
_HOMES = ("torch.", "torch.cuda.", "torch.storage.")
DTYPES = {f"torch.{name}": stored for stored, (name, _) in _NAMES.items()}
STORAGES: dict[str, str | None] = {
    f"{home}{kind}Storage": stored for home in _HOMES for stored, (_, kind) in _NAMES.items() if kind
}
STORAGES |= {f"{home}UntypedStorage": None for home in _HOMES}

#: Numbers that no model here has and no array of the project's holds.
_NO_NUMBERS = {
    f"{home}{name}"
    for home in _HOMES
    for name in (
        *("ComplexFloatStorage", "ComplexDoubleStorage", "QInt8Storage", "QUInt8Storage", "QInt32Storage"),
        *("QUInt4x2Storage", "QUInt2x4Storage"),
    )
} | {"torch.complex32", "torch.complex64", "torch.complex128"}

_REBUILD = "torch._utils._rebuild_"
_DICTS = ("collections.OrderedDict", "builtins.dict", "__builtin__.dict", "collections.Counter")


def _of(modules: str, names: str) -> set[str]:
    """Return the full names of some names in each of some modules."""
    return {f"{module}.{name}" for module in modules.split() for name in names.split()}


#: What training checkpoints carry along.
SKIPPED = (
    _of("argparse", "Namespace")
    | _of("types", "SimpleNamespace")
    | _of("_codecs", "encode")
    | _of("copyreg copy_reg", "_reconstructor")
    | _of("builtins __builtin__", "object list tuple int long float str unicode bool bytes bytearray complex")
    | _of("builtins __builtin__", "set frozenset slice range")
    | _of("collections", "deque")
    | _of("datetime", "datetime date timedelta timezone")
    | _of("decimal", "Decimal")
    | _of("uuid", "UUID")
    | _of("pathlib pathlib._local", "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath")
    | _of("numpy", "dtype ndarray")
    | _of("numpy.core.multiarray numpy._core.multiarray", "scalar _reconstruct")
    | _of("numpy.core.numeric numpy._core.numeric", "_frombuffer")
    | _of("torch", "device Generator Tensor dtype strided sparse_coo per_tensor_affine per_channel_affine")
    | _of("torch", "contiguous_format channels_last preserve_format")
    | _of("torch.nn.parameter", "Parameter")
    | _of("torch.serialization", "_get_layout")
    | _of("torch._utils", "_rebuild_sparse_tensor _rebuild_sparse_csr_tensor _rebuild_qtensor")
    | _of("torch._utils", "_rebuild_meta_tensor_no_storage")
    | _of("yacs.config", "CfgNode")
    | _of("easydict", "EasyDict")
    | _of("addict.addict", "Dict")
    | _of("mmengine.config.config", "ConfigDict")
    | _of("omegaconf.dictconfig", "DictConfig")
    | _of("omegaconf.listconfig", "ListConfig")
    | _of("omegaconf.base", "Metadata ContainerMetadata")
    | _of("omegaconf.nodes", "AnyNode")
    | _of("typing", "Any")
    | _of("pytorch_lightning.utilities.parsing lightning_fabric.utilities.data", "AttributeDict")
)

_OTHERS = {
    *_DICTS,
    "collections.defaultdict",
    "torch.Size",
    *(f"{_REBUILD}{name}" for name in ("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state")),
    "torch._tensor._rebuild_from_type_v2",
}
KNOWN = SKIPPED | _OTHERS | STORAGES.keys() | DTYPES.keys()


def look_up(module: str, name: str) -> Global:
    """Return a global of the closed table.

    Raises
    ------
    WeightsError
        If the table does not hold it.
    """
    full = f"{module}.{name}"
    if full in _NO_NUMBERS:
        raise WeightsError(f"holds {full}, expected float16 to float64, bfloat16, an integer or bool; convert it")
    if full not in KNOWN:
        raise WeightsError(
            f"the pickle asks for {quoted(full)}, which is not among the names that a file of weights needs, and was "
            "not run; do not use this file if you do not trust its source"
        )
    return Global(full)


def call(function: Global, arguments: tuple[Any, ...]) -> Any:
    """Return what a call stands for.

    Raises
    ------
    WeightsError
        If it stands for nothing, or its arguments are not those that PyTorch writes.
    """
    name = function.name
    if name in SKIPPED:
        return Skipped(_class_name(arguments) if name.endswith("._reconstructor") else name)
    if name in _DICTS:
        return _dict(name, arguments)
    if name == "collections.defaultdict":
        return {}
    if name == "torch.Size" and len(arguments) == 1:
        return _sizes(arguments[0], "size")
    if name.startswith((f"{_REBUILD}tensor", f"{_REBUILD}parameter")):
        return _rebuild(name, arguments)
    if name == "torch._tensor._rebuild_from_type_v2" and len(arguments) == 4:
        inner, _, inside, _ = arguments
        if type(inner) is Global and inner.name.startswith(_REBUILD) and type(inside) is tuple:
            return call(inner, inside)
    raise WeightsError(f"the pickle calls {name} with {len(arguments)} arguments that PyTorch does not write")


def persistent(identity: Any) -> Storage:
    """Return the storage that a persistent identifier names.

    Raises
    ------
    WeightsError
        If it names none.
    """
    if type(identity) is tuple and len(identity) in (5, 6) and identity[0] == "storage":
        _, kind, key, _, count, *view = identity
        if type(kind) is Global and kind.name in STORAGES and type(key) is str and _is_size(count):
            return Storage(key, STORAGES[kind.name], count, _view(view[0]) if view else None)
    raise WeightsError("the pickle refers to something outside it that is no storage; download it again")


def _view(view: Any) -> tuple[int, int] | None:
    """Return first value and number of values from what the oldest versions write of a storage in another."""
    if view is None:
        return None
    if type(view) is tuple and len(view) == 3 and _is_size(view[1]) and _is_size(view[2]):
        return view[1], view[2]
    raise WeightsError("a storage is a view of another that no version of PyTorch writes; download it again")


def checked_key(key: Any) -> Any:
    """Return a dict's key if it is one whose hash nobody can choose or make costly; a tuple of such is one too.

    Raises
    ------
    WeightsError
        If it is another: nested tuples take exponential time, huge numbers can be made to collide.
    """
    parts = key if type(key) is tuple and len(key) <= 8 else (key,)
    if not all(map(_is_plain_key, parts)):
        raise WeightsError(f"expected short texts and 64-bit numbers as the keys of a dict, got {kind(key)}")
    return key


def kind(value: Any) -> str:
    """Return what to call a value in an error."""
    return quoted(value) if type(value) in (Global, Skipped) else f"a {type(value).__name__}"


def _is_plain_key(key: Any) -> bool:
    if type(key) is int:
        return -(2**63) <= key < 2**64
    if type(key) in (str, bytes):
        return len(key) <= MAX_NAME
    return type(key) in (Global, Skipped, bool, type(None))


def _dict(name: str, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Return the dict that a call without arguments, or with a list of pairs, stands for."""
    pairs = arguments[0] if len(arguments) == 1 else []
    if type(pairs) is dict:
        return dict(pairs)
    right = len(arguments) <= 1 and type(pairs) in (list, tuple)
    if not right or not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise WeightsError(f"the pickle makes a {name} of something that is no list of pairs; download it again")
    return {checked_key(key): value for key, value in pairs}


def _rebuild(name: str, arguments: tuple[Any, ...]) -> Any:
    """Return the tensor that a call of a rebuild function stands for."""
    if "parameter" in name:
        if arguments and type(arguments[0]) in (Tensor, Skipped):
            return arguments[0]
        raise WeightsError(f"the pickle calls {name} with something that is no tensor; download it again")
    fewest = {"tensor": 4, "tensor_v2": 6, "tensor_v3": 7}[name.removeprefix(_REBUILD)]
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
    if type(values) in (tuple, list) and len(values) <= MAX_DIMENSIONS and all(map(_is_size, values)):
        return tuple(values)
    shown = quoted(values) if type(values) in (tuple, list) and all(type(v) is int for v in values[:100]) else "none"
    raise WeightsError(f"a tensor has the {what} {shown}, expected at most {MAX_DIMENSIONS} numbers from 0 to 2**63")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _class_name(arguments: tuple[Any, ...]) -> str:
    return arguments[0].name if arguments and type(arguments[0]) is Global else "copyreg._reconstructor"
