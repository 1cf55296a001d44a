"""Tensors of other libraries, by stand-ins: tests/api/test_tensors.py has the libraries themselves."""

import sys

import numpy as np
import pytest
from support.foreign import JaxArray, OfSubclass, TorchTensor, Traced, make_torch

from npconv.errors import InputError, UnavailableError
from npconv.tensors import (
    MAKERS,
    TensorType,
    as_array,
    as_arrays,
    as_tensor,
    library_of,
    load_library,
    parse_tensor_type,
)

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "tensor",
    [
        TorchTensor(VALUES),
        TorchTensor(VALUES, device="cuda:0", requires_grad=True),
        TorchTensor(VALUES, dtype="torch.bfloat16", requires_grad=True),
        TorchTensor(VALUES, dtype="torch.float8_e4m3fn"),
        OfSubclass(VALUES, device="cuda:0"),
        JaxArray(VALUES),
    ],
    ids=lambda tensor: f"{type(tensor).__name__}-{tensor.dtype}",
)
def test_a_tensor_becomes_an_array(tensor):
    array = as_array(tensor)
    assert (type(array), array.dtype) == (np.ndarray, np.float32)
    np.testing.assert_array_equal(array, VALUES)
    assert as_arrays([tensor, [tensor, 3]])[1][1] == 3
    np.testing.assert_array_equal(as_arrays((tensor,))[0], VALUES)


@pytest.mark.parametrize("other", [None, 3, "torch", [1], VALUES, np.float32(2), object], ids=repr)
def test_anything_else_stays(other):
    assert library_of(other) is None
    assert as_array(other) is other


def test_dtypes_that_others_add_to_numpy():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
        array = as_array(VALUES.astype(dtype))
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, VALUES)


def test_a_tensor_shares_its_memory():
    assert as_array(TorchTensor(VALUES)) is VALUES


def test_what_is_no_tensor_of_a_library_is_let_be():
    """Such as torch.Size, torch.device and modules."""
    kind = type("Size", (tuple,), {"__module__": "torch"})
    size = kind((1, 2))
    assert as_array(size) is size


def test_a_tensor_without_values_is_refused_in_one_line():
    with pytest.raises(InputError, match="expected a tensor that NumPy can take, got Traced: 'the array") as refusal:
        as_array(Traced(VALUES))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", MAKERS, ids=lambda kind: kind.value)
def test_without_the_library_the_message_names_its_package(monkeypatch, kind):
    for name in ("torch", "tensorflow", "jax", "jax.numpy", "mlx", "mlx.core"):
        monkeypatch.setitem(sys.modules, name, None)
    package = MAKERS[kind][2]
    expected = f"return_tensors='{kind.value}' needs the package {package}: pip install {package}, or use 'np'"
    with pytest.raises(UnavailableError) as refusal:
        load_library(kind)
    assert str(refusal.value) == expected
    with pytest.raises(UnavailableError, match=package):
        as_tensor(VALUES, kind)


def test_kinds_by_name_and_by_enumeration():
    class Theirs:
        value = "pt"

    for given in ("pt", TensorType.PYTORCH, Theirs()):
        assert parse_tensor_type(given) is TensorType.PYTORCH
    assert parse_tensor_type(None) is None
    assert TensorType("np") == "np"  # a text, as in transformers
    for wrong in ("torch", 3, [], {}):
        with pytest.raises(InputError, match="expected return_tensors to be one of 'pt', 'tf', 'np', 'jax', 'mlx'"):
            parse_tensor_type(wrong)


def test_made_of_what_numpy_can_stack(monkeypatch):
    make_torch(monkeypatch)
    for given in (VALUES, VALUES.tolist(), list(VALUES), [TorchTensor(row) for row in VALUES], JaxArray(VALUES)):
        tensor = as_tensor(given, TensorType.PYTORCH)
        assert type(tensor) is TorchTensor
        np.testing.assert_array_equal(tensor.array, VALUES)
        np.testing.assert_array_equal(as_tensor(given, TensorType.NUMPY), VALUES)
    own = TorchTensor(VALUES, device="cuda:0")
    assert as_tensor(own, TensorType.PYTORCH) is own
    for kind in (TensorType.PYTORCH, TensorType.NUMPY):
        assert as_tensor(None, kind) is None
        assert as_tensor("text", kind) == "text"
        assert as_tensor(["one", "two"], kind) == ["one", "two"]


def test_a_tensor_is_made_of_memory_that_may_be_written_to(monkeypatch):
    make_torch(monkeypatch)
    fixed = VALUES[:, ::-1].copy()
    fixed.flags.writeable = False
    for given in (fixed, VALUES[:, ::-1]):
        array = as_tensor(given, TensorType.PYTORCH).array
        assert array.flags.writeable
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, given)


@pytest.mark.parametrize("wrong", [[[1], [2, 3]], [np.zeros(2), np.zeros(3)]])
def test_shapes_that_differ_are_refused(wrong):
    with pytest.raises(InputError, match="expected arrays of one shape for one tensor, got a list of several"):
        as_tensor(wrong, TensorType.NUMPY)


@pytest.mark.parametrize("wrong", [object(), {"a": 1}, [None], np.zeros(2, "M8[s]")])
def test_what_holds_no_numbers_is_refused(wrong):
    with pytest.raises(InputError, match="expected numbers to make a tensor of, got"):
        as_tensor(wrong, TensorType.NUMPY)
