"""Which library an array belongs to, and the border between host and device."""

import sys
from types import ModuleType

import numpy as np
import pytest
import scipy.special
from support.standins import DeviceArray

from npconv.backend import (
    accumulation_dtype,
    array_module,
    device_module,
    parse_device,
    parse_dtype,
    special_functions,
    to_device,
    to_host,
)
from npconv.errors import InputError, NpconvWarning, UnavailableError


def fake_cupy(device_count):
    """Return a module in which ``cuda.runtime.getDeviceCount`` is `device_count`."""
    cupy = ModuleType("cupy")
    cupy.cuda = ModuleType("cupy.cuda")
    cupy.cuda.runtime = ModuleType("cupy.cuda.runtime")
    cupy.cuda.runtime.getDeviceCount = device_count
    cupy.asarray = lambda x: ("on the device", x)
    return cupy


class ForeignTensor:
    """An array of a framework that npconv does not know."""

    __module__ = "foreign.tensor"


@pytest.mark.parametrize("x", [np.ones(2), np.float32(1), np.ones(3)[0], np.ma.ones(2)], ids=lambda x: type(x).__name__)
def test_numpy_arrays_and_scalars_belong_to_numpy(x):
    assert array_module(x) is np
    assert special_functions(x) is scipy.special


def test_a_device_array_belongs_to_its_own_library(device_stub):
    x = device_stub.asarray([1.0])
    assert array_module(x) is device_stub
    assert special_functions(x) is device_stub.special
    assert type(special_functions(x).erf(x)) is DeviceArray


@pytest.mark.parametrize(
    ("x", "name"),
    [
        ([1.0], "list"),
        (1.0, "float"),
        (None, "NoneType"),
        (ForeignTensor(), "foreign.tensor"),
    ],
)
def test_other_arrays_are_refused(x, name):
    with pytest.raises(InputError, match=f"expected a NumPy or CuPy array, got {name}.*; convert with numpy.asarray"):
        array_module(x)
    with pytest.raises(InputError, match=name):
        special_functions(x)
    with pytest.raises(InputError, match=name):
        to_host(x)


@pytest.mark.parametrize(("dtype", "wide"), [("float16", "float32"), ("float32", "float32"), ("float64", "float64")])
def test_sums_are_taken_in_at_least_float32(dtype, wide):
    assert accumulation_dtype(np.ones(1, dtype)) == wide


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "complex64", "object", "str"])
def test_sums_over_anything_but_floats_are_refused(dtype):
    with pytest.raises(InputError, match=r"expected a floating-point array, got .*; convert with .astype\('float32'\)"):
        accumulation_dtype(np.ones(1).astype(dtype))


def test_the_cpu_is_numpy():
    assert device_module("cpu") is np


@pytest.mark.parametrize("device", ["gpu", "cuda:0", "", None, 0, ["cpu"]])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(InputError, match="expected device 'cpu' or 'cuda', got ") as refusal:
        device_module(device)
    assert repr(device) in str(refusal.value)
    with pytest.raises(InputError):
        to_device(np.ones(1), device)


def test_without_cupy_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # import cupy raises ImportError
    with pytest.raises(UnavailableError, match=r"needs CuPy: pip install cupy-cuda12x, or use device='cpu'"):
        to_device(np.ones(1), "cuda")


def test_cupy_without_a_usable_device_is_unavailable(monkeypatch):
    def no_driver():
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(no_driver))
    with pytest.raises(UnavailableError, match=r"finds no usable CUDA device \(cudaErrorNoDevice: .*\); use 'cpu'"):
        device_module("cuda")


def test_cuda_is_cupy_where_it_finds_a_device(monkeypatch):
    cupy = fake_cupy(lambda: 1)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert device_module("cuda") is cupy
    assert to_device(3, "cuda") == ("on the device", 3)


def test_to_the_cpu_copies_nothing():
    x = np.ones(3)
    assert to_device(x, "cpu") is x
    assert to_host(x) is x


def test_there_and_back(device_stub):
    x = np.arange(6.0).reshape(2, 3)
    device = to_device(x, "stub")
    assert type(device) is DeviceArray
    assert to_device(device, "stub") is device
    back = to_host(device)
    assert type(back) is np.ndarray
    np.testing.assert_array_equal(back, x)
    assert (device_stub.ledger.to_device, device_stub.ledger.to_host) == (1, 1)


def test_a_device_array_moves_to_the_cpu(device_stub):
    np.testing.assert_array_equal(to_device(device_stub.asarray([1.0, 2.0]), "cpu"), [1.0, 2.0])


class Named:
    """A dtype of TensorFlow."""

    name = "float16"

    def __repr__(self):
        return "<dtype: 'float16'>"


class Printed:
    """A dtype of torch or MLX, or a device of torch."""

    def __init__(self, text, **attributes):
        self.text = text
        self.__dict__.update(attributes)

    def __repr__(self):
        return self.text


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("float16", "float16"),
        ("torch.float16", "float16"),
        ("half", "float16"),
        ("torch.half", "float16"),
        (np.float16, "float16"),
        (np.dtype("float16"), "float16"),
        (Printed("torch.float16"), "float16"),
        (Printed("mlx.core.float16"), "float16"),
        (Named(), "float16"),
        ("float", "float32"),  # torch's, not NumPy's
        ("torch.float", "float32"),
        (None, "float32"),
        ("double", "float64"),
        ("torch.double", "float64"),
        (float, "float64"),
    ],
    ids=repr,
)
def test_a_dtype_in_every_form(dtype, name):
    assert parse_dtype(dtype) == np.dtype(name)
    assert type(parse_dtype(dtype)) is type(np.dtype(name))


@pytest.mark.parametrize("dtype", ["bfloat16", "torch.bfloat16", Printed("torch.bfloat16")], ids=repr)
def test_bfloat16_is_float32_and_says_so(dtype):
    with pytest.warns(NpconvWarning, match="NumPy has no bfloat16: npconv computes in float32.*; dtype='float32' asks"):
        assert parse_dtype(dtype) == np.float32


@pytest.mark.parametrize("dtype", ["int8", "float12", "", "auto", np.int64, Printed("torch.int64"), 3, []], ids=repr)
def test_another_dtype_is_refused(dtype):
    with pytest.raises(InputError, match="expected dtype to be one of float16, float32, float64; got "):
        parse_dtype(dtype)


@pytest.mark.parametrize(
    ("device", "name"),
    [
        *((device, "cpu") for device in ("cpu", "cpu:0", -1, None)),
        *((device, "cuda") for device in ("cuda", "cuda:0", 0)),
        (Printed("device(type='cpu')", type="cpu", index=None), "cpu"),
        (Printed("device(type='cuda')", type="cuda", index=None), "cuda"),
        (Printed("device(type='cuda', index=0)", type="cuda", index=0), "cuda"),
    ],
    ids=repr,
)
def test_a_device_in_every_form(device, name):
    assert parse_device(device) == name


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "", "auto", -2, True, 1.5, ["cpu"]], ids=repr)
def test_what_is_no_device(device):
    with pytest.raises(InputError, match="expected device 'cpu', 'cuda' or the number of a GPU, got "):
        parse_device(device)


@pytest.mark.parametrize("device", [1, "cuda:1", Printed("cuda:1", type="cuda", index=1)], ids=repr)
def test_a_second_gpu_is_made_the_first_by_the_environment(device):
    with pytest.raises(UnavailableError, match="the first device of its kind only; set CUDA_VISIBLE_DEVICES=1 before"):
        parse_device(device)


@pytest.mark.parametrize("device", ["mps", "mps:0", "xpu", Printed("mps", type="mps", index=0)], ids=repr)
def test_a_device_without_an_array_library_is_unavailable(device):
    with pytest.raises(UnavailableError, match=r"npconv computes on 'cpu' or, by CuPy, on 'cuda'; use 'cpu'"):
        parse_device(device)
