"""What each call in a pickle stands for, one by one; nothing is called."""

import pytest

from npconv.errors import WeightsError
from npconv.files.header import MAX_DIMENSIONS
from npconv.files.pickle_calls import call, is_sizes, new, persistent, set_state
from npconv.files.pickle_names import STORAGES, is_known, is_skipped, look_up
from npconv.files.pickle_values import (
    MAX_NAME,
    MAX_NUMBER_KEYS,
    Global,
    NumpyArray,
    NumpyType,
    Object,
    Skipped,
    Storage,
    Tensor,
    checked_keys,
)

FLOATS = Storage("0", "F32", 100)
TENSOR = Tensor(FLOATS, "F32", 0, (1,), (1,))
REBUILD = "torch._utils._rebuild_"


def called(name, *arguments):
    return call(Global(name), arguments)


def facts(tensor):
    return tensor.storage, tensor.dtype, tensor.offset, tensor.shape, tensor.strides


@pytest.mark.parametrize("version", ["", "_v2", "_v3"])
@pytest.mark.parametrize("shape", [(2, 3), [2, 3], ()])
def test_a_tensor(version, shape):
    more = {"": (), "_v2": (False, {}), "_v3": (False, {}, Global("torch.float16"))}[version]
    made = called(f"{REBUILD}tensor{version}", FLOATS, 5, shape, shape, *more)
    assert facts(made) == (FLOATS, "F16" if version == "_v3" else "F32", 5, tuple(shape), tuple(shape))
    for name in ("parameter", "parameter_with_state"):
        assert called(f"{REBUILD}{name}", made, True, {}) is made
    inner = called("torch._tensor._rebuild_from_type_v2", Global(f"{REBUILD}tensor"), None, (FLOATS, 0, (2,), (1,)), {})
    assert facts(inner) == (FLOATS, "F32", 0, (2,), (1,))


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("tensor", (FLOATS, 0, (1,)), "with other arguments than PyTorch writes"),
        ("tensor_v2", (FLOATS, 0, (1,), (1,), False), "with other arguments than PyTorch writes"),
        ("tensor_v3", (FLOATS, 0, (1,), (1,), False, {}), "with other arguments than PyTorch writes"),
        ("tensor_v2", (FLOATS, 0, (1,), (1,), *[None] * 5), "with other arguments than PyTorch writes"),
        ("tensor", ("0", 0, (1,), (1,)), "with other arguments than PyTorch writes"),
        ("tensor_v3", (FLOATS, 0, (1,), (1,), False, {}, Global("torch.complex64")), "without a dtype"),
        ("tensor_v3", (FLOATS, 0, (1,), (1,), False, {}, "torch.float32"), "without a dtype"),
        ("tensor", (Storage("0", None, 8), 0, (1,), (1,)), "without a dtype"),
        ("tensor", (FLOATS, 0, (1, 2), (1,)), "2 sizes, 1 strides and offset '0'"),
        ("tensor", (FLOATS, -1, (1,), (1,)), "1 sizes, 1 strides and offset '-1'"),
        ("tensor", (FLOATS, True, (1,), (1,)), "1 sizes, 1 strides and offset 'True'"),
        ("tensor", (FLOATS, 0, (-1,), (1,)), r"the size '\(-1,\)', expected at most"),
        ("tensor", (FLOATS, 0, (1,), (2**63,)), "the stride .*, expected at most"),
        ("tensor", (FLOATS, 0, "1", (1,)), "the size none, expected at most"),
        ("tensor", (FLOATS, 0, (1.0,), (1,)), "the size none, expected at most"),
        ("parameter", (), "with something that is no tensor"),
        ("parameter", (FLOATS, True, {}), "with something that is no tensor"),
    ],
)
def test_a_tensor_that_pytorch_does_not_write(name, arguments, said):
    with pytest.raises(WeightsError, match=said):
        called(REBUILD + name, *arguments)


def test_sizes_are_those_that_numpy_can_have():
    assert all(map(is_sizes, [(), [0], (2**63 - 1,), (1,) * MAX_DIMENSIONS]))
    assert not any(map(is_sizes, [{}, "1", None, (-1,), (2**63,), (True,), (1,) * (MAX_DIMENSIONS + 1)]))


def test_plain_values():
    assert called("torch.Size", [2, 3]) == (2, 3)
    assert called("collections.defaultdict", Global("builtins.list")) == {}
    for name in ("builtins.bytes", "__builtin__.bytes"):
        assert called(name) == b""
    for name in ("builtins.set", "__builtin__.set"):
        made = called(name, [TENSOR])
        assert (made.what, made.members) == (name, [TENSOR])
    for arguments in ((), ([1], [2]), ((1,),)):  # no list: a set that is not made
        assert called("builtins.set", *arguments).members == []
    assert called("datetime.date", 2020, 1, 1).what == "datetime.date"


@pytest.mark.parametrize(
    "name", ["collections.OrderedDict", "builtins.dict", "__builtin__.dict", "collections.Counter"]
)
def test_dicts(name):
    assert called(name) == called(name, []) == {}
    assert called(name, [["a", 1], ("b", 2)]) == called(name, (("a", 1), ("b", 2))) == {"a": 1, "b": 2}
    given = {"a": 1}
    made = called(name, given)
    assert made == given
    assert made is not given
    for wrong in (([], []), ("ab",), ([["a"]],), ([["a", 1, 2]],), (["ab"],), (3,)):
        with pytest.raises(WeightsError, match="of something that is no list of pairs"):
            called(name, *wrong)
    with pytest.raises(WeightsError, match="expected short texts and 64-bit numbers as the keys"):
        called(name, [[1.5, 1]])


def test_keys_cost_what_their_hashes_may():
    assert checked_keys(["a" * MAX_NAME, "b"]) == 0
    assert checked_keys([1, -(2**63), 2**64 - 1, None, True, b"x", Global("a.B")]) == 7
    assert checked_keys([(1, "a"), (2,)]) == 20
    assert checked_keys(range(MAX_NUMBER_KEYS)) == MAX_NUMBER_KEYS
    for wrong in (["a" * (MAX_NAME + 1)], [2**64], [-(2**63) - 1], [((1,),)], [tuple(range(9))], [1.5], [frozenset()]):
        with pytest.raises(WeightsError, match="expected short texts"):
            checked_keys(wrong)
    with pytest.raises(WeightsError, match=f"at most {MAX_NUMBER_KEYS} numbers"):
        checked_keys(range(MAX_NUMBER_KEYS + 1))


def test_arrays_of_numpy():
    made = called("numpy._core.multiarray._reconstruct", Global("numpy.ndarray"), (0,), b"b")
    dtype = called("numpy.dtype", "f4", False, True)
    assert (type(made), dtype.text, dtype.order) == (NumpyArray, "f4", "<")
    set_state(dtype, (3, ">", None, None, None, -1, -1, 0))
    assert dtype.order == ">"
    for ignored in ((3,), "3>", (3, "x"), [3, ">"]):
        other = NumpyType("f4")
        set_state(other, ignored)
        assert other.order == "<"
    set_state(made, (1, (2, 3), dtype, 1, b"123"))
    assert (made.shape, made.dtype, made.is_fortran, made.data) == ((2, 3), dtype, True, b"123")
    for wrong in ((1, (2, 3), dtype, True), [1, (2, 3), dtype, True, b""], None):
        with pytest.raises(WeightsError, match="an array has a state that NumPy does not write"):
            set_state(NumpyArray(), wrong)
    framed = called("numpy._core.numeric._frombuffer", b"12", dtype, (2,), "F")
    assert (framed.data, framed.dtype, framed.shape, framed.is_fortran) == (b"12", dtype, (2,), True)
    assert not called("numpy._core.numeric._frombuffer", b"12", dtype, (2,), "C").is_fortran
    assert called("torch._utils._rebuild_xla_tensor", framed, Global("torch.float32"), "xla", False) is framed
    assert (
        called("_codecs.encode", "\xff\x00", "latin1") == called("_codecs.encode", "\xff\x00", "latin-1") == b"\xff\x00"
    )
    for text, encoding in (("\u0100", "latin1"), ("a", "utf-8"), (b"a", "latin1")):
        assert called("_codecs.encode", text, encoding).what == "_codecs.encode"
    assert called("_codecs.encode", "a").what == "_codecs.encode"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("torch.Size", ((1,), (2,))),
        ("numpy.dtype", ()),
        ("numpy.dtype", (3,)),
        ("numpy._core.numeric._frombuffer", (b"", "f4", (0,))),
        ("torch._utils._rebuild_xla_tensor", ("no array",)),
        ("torch._tensor._rebuild_from_type_v2", (Global(f"{REBUILD}tensor"), None, [FLOATS, 0, (), ()], {})),
        ("torch._tensor._rebuild_from_type_v2", (Global("os.system"), None, ("true",), {})),
        ("torch._tensor._rebuild_from_type_v2", (Global(f"{REBUILD}tensor"), None, (FLOATS, 0, (), ()))),
    ],
)
def test_calls_that_pytorch_does_not_write(name, arguments):
    with pytest.raises(WeightsError, match=f"calls {name} with {len(arguments)} arguments that PyTorch does not write"):
        called(name, *arguments)


def test_objects_of_any_class_are_kept_and_functions_refused():
    assert type(called("mine.Model", 1)) is Object
    assert type(called("mine._Model")) is Object
    for name in ("mine.make", "mine._make", "mine.__", "mine.3"):
        with pytest.raises(WeightsError, match="was not run"):
            called(name)
    assert new(Global("mine.model"), ()).what == "mine.model"  # a class, whatever its name
    assert new(Global("collections.OrderedDict"), ()) == {}
    for name in ("copyreg._reconstructor", "copy_reg._reconstructor"):
        assert type(called(name, Global("mine.Model"), Global("builtins.object"), None)) is Object
        assert called(name, Global("datetime.date"), Global("builtins.object"), None).what == "datetime.date"
        assert called(name, "mine.Model").what == called(name).what == name


def test_what_a_state_leads_to():
    for state, found in (
        ({"a": 1}, {"a": 1}),
        (({"a": 1}, {"b": 2}), {"a": 1}),
        ((None, {"b": 2}), {"b": 2}),
        (({"a": 1},), {}),
        ((1, 2, {"c": 3}), {}),
        (7, {}),
    ):
        target = Object("mine.Model")
        set_state(target, state)
        assert target.state == found
    set_state(Skipped("x"), {"a": 1})  # dropped


def test_methods_of_what_is_in_the_pickle():
    for owner in (Object("mine.Model"), Skipped("mine.Model")):
        assert called("builtins.getattr", owner, "forward").what == "the method forward of mine.Model"
    for wrong in ((Global("os"), "system"), (Object("a.B"), 3), (Object("a.B"),), (Object("a.B"), "x", None)):
        with pytest.raises(WeightsError, match="was not run"):
            called("builtins.getattr", *wrong)


def test_storages_by_their_identifiers():
    kind = Global("torch.FloatStorage")
    assert persistent(("storage", kind, "0", "cpu", 4)) == Storage("0", "F32", 4)
    assert persistent(("storage", kind, "0", "cpu", 4, None)) == Storage("0", "F32", 4)
    assert persistent(("storage", kind, "0", "cpu", 4, ("1", 2, 3))) == Storage("0", "F32", 4, (2, 3))
    assert persistent(("storage", Global("torch.storage.UntypedStorage"), "0", "cpu", 4)).dtype is None
    assert persistent(("module", kind, "file.py", "source")) is kind
    for wrong in (
        *(
            ("storage", kind, "0", "cpu"),
            ("storage", kind, "0", "cpu", 4, None, None),
            ["storage", kind, "0", "cpu", 4],
        ),
        *(("other", kind, "0", "cpu", 4), ("storage", "F32", "0", "cpu", 4), ("storage", kind, 0, "cpu", 4)),
        *(("storage", Global("a.B"), "0", "cpu", 4), ("storage", kind, "0", "cpu", -1), ("module", kind, "file.py")),
        *(("module", "a.B", "file.py", "source"), ("other", kind, "file.py", "source"), None),
    ):
        with pytest.raises(WeightsError, match="something outside it that is no storage"):
            persistent(wrong)
    for view in ((1, 2), ("1", -2, 3), ("1", 2, None), ["1", 2, 3]):
        with pytest.raises(WeightsError, match="is a view of another that no version of PyTorch writes"):
            persistent(("storage", kind, "0", "cpu", 4, view))


def test_which_names_are_looked_up():
    assert look_up("torch", "FloatStorage").name in STORAGES
    assert look_up("mine.models", "Net").name == "mine.models.Net"
    for module, name in (("os", "system"), ("commands", "getoutput"), ("builtins", "eval"), ("mine", "a b"), ("", "x")):
        with pytest.raises(WeightsError, match="was not run"):
            look_up(module, name)
    for name, said in (("QInt8Storage", "before quantisation"), ("QUInt4x2Storage", "before quantisation")):
        with pytest.raises(WeightsError, match=said):
            look_up("torch", name)
    with pytest.raises(WeightsError, match=r"holds torch\.complex64, expected .*: convert it"):
        look_up("torch", "complex64")
    assert is_skipped("torch.optim.adam.Adam")
    assert is_known("numpy.random._pickle.x")
    assert not is_known("torch.optim.swa_utils.AveragedModel")
    assert not is_skipped("torch.optim.swa_utils.AveragedModel")
    assert is_known("torch.Size")
    assert not is_skipped("torch.Size")
