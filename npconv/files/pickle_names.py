"""The closed table: every global that a pickle may call, and those that are skipped. Nothing here is called.

Three kinds are known: what tensors are made of (storages, dtypes, the rebuild functions, NumPy's arrays), what stands
for a plain value (``collections.OrderedDict``, ``torch.Size``), and what training checkpoints carry along, which is
skipped: its name is kept, its arguments, state and items are dropped.

Of the rest, whatever Python itself has is refused by name: that is what hostile pickles run. Names of other libraries
may stand there, as classes of objects and as values; in a whole model they are those of its modules.

Source: ``torch/_utils.py``, ``torch/storage.py`` and ``torch/serialization.py`` of PyTorch 2.13.
"""

from __future__ import annotations

import sys

from npconv.errors import WeightsError
from npconv.files.pickle_values import Global
from npconv.messages import quoted

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

REBUILD = "torch._utils._rebuild_"
DICTS = ("collections.OrderedDict", "builtins.dict", "__builtin__.dict", "collections.Counter")
BYTES = ("builtins.bytes", "__builtin__.bytes")
SETS = ("builtins.set", "__builtin__.set")
#: How a pickle has a bound method: a module's ``forward`` among its attributes.
BOUND = ("builtins.getattr", "__builtin__.getattr")


def _of(modules: str, names: str) -> set[str]:
    """Return the full names of some names in each of some modules."""
    return {f"{module}.{name}" for module in modules.split() for name in names.split()}


#: What training checkpoints carry along.
SKIPPED = (
    _of("argparse", "Namespace")
    | _of("types", "SimpleNamespace")
    | _of("functools", "partial")
    | _of("itertools", "count repeat")
    | _of("operator _operator", "attrgetter itemgetter methodcaller getitem")
    | _of("re", "_compile")
    | _of("logging", "Logger RootLogger getLogger")
    | _of("fractions", "Fraction")
    | _of("builtins __builtin__", "object list tuple int long float str unicode bool bytes bytearray complex")
    | _of("builtins __builtin__", "set frozenset slice range type")
    | _of("collections", "deque")
    | _of("datetime", "datetime date time timedelta timezone")
    | _of("decimal", "Decimal")
    | _of("uuid", "UUID")
    | _of("pathlib pathlib._local", "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath")
    | _of("numpy.core.multiarray numpy._core.multiarray", "scalar")
    | _of("numpy.ma.core", "_mareconstruct")
    | _of("torch", "device Generator Tensor dtype strided sparse_coo per_tensor_affine per_channel_affine")
    | _of("torch", "contiguous_format channels_last preserve_format")
    | _of("torch.nn.parameter", "Parameter")
    | _of("torch.serialization", "_get_layout")
    | _of("torch._utils", "_rebuild_sparse_tensor _rebuild_sparse_csr_tensor _rebuild_qtensor")
    | _of("torch._utils", "_rebuild_meta_tensor_no_storage _rebuild_nested_tensor _rebuild_wrapper_subclass")
    | _of("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")
    | _of("typing", "Any Union Optional Dict List Tuple")
)

_OTHERS = {
    *DICTS,
    "collections.defaultdict",
    "torch.Size",
    *(f"{REBUILD}{name}" for name in ("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state")),
    "torch._tensor._rebuild_from_type_v2",
    "_codecs.encode",
    *BOUND,
    "copyreg._reconstructor",
    "copy_reg._reconstructor",
    *_of("torch._utils", "_rebuild_device_tensor_from_numpy _rebuild_xla_tensor"),
    *_of("numpy", "dtype ndarray"),
    *_of("numpy.core.multiarray numpy._core.multiarray", "_reconstruct"),
    *_of("numpy.core.numeric numpy._core.numeric", "_frombuffer"),
}
_KNOWN = SKIPPED | _OTHERS | STORAGES.keys() | DTYPES.keys()

#: The first parts of the modules that Python itself has, today and in version 2.
_PYTHON = sys.stdlib_module_names | {"__builtin__", "commands", "copy_reg", "distutils", "exceptions", "imp"}

#: Modules with nothing that belongs to a model.
_BOOKKEEPING = ("torch.optim.", "numpy.random.")

#: But for these, which are models.
_MODELS = {"torch.optim.swa_utils.AveragedModel"}


def is_known(name: str) -> bool:
    """Say whether a global is of the closed table, or all of whose kind are skipped."""
    return name in _KNOWN or (name.startswith(_BOOKKEEPING) and name not in _MODELS)


def is_skipped(name: str) -> bool:
    """Say whether calls of a global, and objects of it, are dropped whatever they hold."""
    return name in SKIPPED or (name.startswith(_BOOKKEEPING) and name not in _MODELS)


def look_up(module: str, name: str) -> Global:
    """Return a global: of the closed table, or of a library that is not Python's own.

    Raises
    ------
    WeightsError
        If it is another.
    """
    full = f"{module}.{name}"
    if full in _NO_NUMBERS:
        what = (
            "quantised weights; take them as they were before quantisation"
            if "QI" in full or "QUI" in full
            else "convert it"
        )
        raise WeightsError(f"holds {full}, expected float16 to float64, bfloat16, an integer or bool: {what}")
    is_foreign = full.partition(".")[0] not in _PYTHON and all(part.isidentifier() for part in full.split("."))
    if not is_foreign and full not in _KNOWN:
        raise forbidden(full)
    return Global(full)


def forbidden(name: str) -> WeightsError:
    """Return the error for a global that a pickle would run."""
    return WeightsError(
        f"the pickle asks for {quoted(name)}, which is not among the names that a file of weights needs, and was not "
        "run; do not use this file if you do not trust its source"
    )
