"""The strict device array is strict: a stand-in that let things pass would prove nothing."""

import copy
import operator

import numpy as np
import pytest
from support.standins import DeviceArray, readonly
from support.torch_standin import make_torch


@pytest.fixture
def x(device_stub):
    return device_stub.asarray(np.arange(6.0, dtype="float32").reshape(2, 3))


def test_readonly_is_a_copy_that_cannot_be_written_to():
    array = np.arange(3.0)
    frozen = readonly(array)
    with pytest.raises(ValueError, match="read-only"):
        frozen[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        frozen += 1
    array[0] = 7
    assert frozen[0] == 0


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "matmul", "lt", "eq", "iadd", "imul"])
def test_no_operator_mixes_host_and_device(name, x):
    function = getattr(operator, name)
    for host in (np.ones((2, 3), "float32"), np.float32(2), np.float64(2), np.array(2.0), [1.0, 2.0, 3.0]):
        with pytest.raises(TypeError):
            function(copy.copy(x), host)
        if not isinstance(host, list) or name != "iadd":  # list += iterates, which is refused as well
            with pytest.raises(TypeError):
                function(copy.copy(host), x)


def test_no_function_mixes_host_and_device(device_stub, x):
    host = np.ones((2, 3), "float32")
    for call in (
        lambda: np.exp(x),
        lambda: np.add(x, x),
        lambda: np.concatenate([x, x]),
        lambda: np.mean(x),
        lambda: np.pad(x, 1),
        lambda: np.asarray(x),
        lambda: np.array([x, x]),
        lambda: device_stub.exp(host),
        lambda: device_stub.maximum(x, host),
        lambda: device_stub.concatenate([x, host]),
        lambda: device_stub.matmul(host, x),
        lambda: device_stub.pad(host, 1),
        lambda: device_stub.special.erf(host),
        lambda: device_stub.lib.stride_tricks.sliding_window_view(host, (1, 1)),
        lambda: x[np.array([0])],
        lambda: x[np.array([True, False])],
        lambda: x[np.int64(0)],
        lambda: x.__setitem__(0, host[0]),
        lambda: host.__setitem__(0, x),
        lambda: list(x),
        lambda: float(x),
        lambda: bool(x),
        lambda: range(3)[x[0, 0].astype("int64")],
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(TypeError):
        device_stub.asarray([x, x])
    with pytest.raises(AttributeError):
        _ = device_stub.einsum_path


def test_crossing_the_border_and_waiting_are_counted(device_stub, x):
    device_stub.ledger.clear()
    assert device_stub.asarray(x) is x
    y = device_stub.asarray([1.0, 2.0])
    assert device_stub.ledger.to_device == 1
    assert y.get().tolist() == [1.0, 2.0]
    assert device_stub.ledger.to_host == 1
    assert float(y.max()) == 2.0
    assert bool((y > 1).any())
    assert int(y.argmax()) == 1
    assert device_stub.ledger.synchronised == 3


def test_the_host_never_shares_memory_with_the_device(device_stub):
    host = np.zeros(3)
    device = device_stub.asarray(host)
    device += 1
    assert host.tolist() == [0.0, 0.0, 0.0]
    device.get()[:] = 7
    assert device.get().tolist() == [1.0, 1.0, 1.0]


def test_arithmetic_is_that_of_numpy(device_stub, x):
    host = x.get()
    for result, expected in [
        (2 * x - x / 3, 2 * host - host / 3),
        (1 - x, 1 - host),
        (-x @ x.T, -host @ host.T),
        (x[:, None, ::2], host[:, None, ::2]),
        (x[x > 2], host[host > 2]),
        (x.mean(axis=1, keepdims=True), host.mean(axis=1, keepdims=True)),
        (device_stub.concatenate([x, x], axis=1), np.concatenate([host, host], axis=1)),
        (device_stub.where(x > 2, x, 0.0), np.where(host > 2, host, 0.0)),
    ]:
        assert type(result) is DeviceArray
        np.testing.assert_array_equal(result.get(), expected)
    y = x.copy()
    y += x
    y[0] = 5.0
    np.testing.assert_array_equal(y.get(), [[5.0, 5.0, 5.0], [6.0, 8.0, 10.0]])


def test_python_numbers_keep_the_dtype_and_reductions_stay_on_the_device(device_stub, x):
    assert (x * 2.5 + 1).dtype == np.float32
    assert type(x.sum()) is DeviceArray
    assert x.sum().shape == ()
    device_stub.ledger.clear()
    _ = x * device_stub.zeros((2, 3))
    assert device_stub.ledger.computed == {"float64"}


def test_the_stand_in_for_torch_takes_no_arrays_and_gives_none():
    torch = make_torch()["torch"]
    array = np.ones((2, 3), np.float32)
    tensor = torch.from_numpy(array)
    assert not isinstance(tensor, np.ndarray)
    assert isinstance(tensor.numpy(), np.ndarray)
    assert type(tensor).__module__ == "torch"
    for call in (
        lambda: torch.softmax(array, dim=-1),
        lambda: torch.argmax(array, dim=1),
        lambda: torch.topk(array, 2),
        lambda: torch.nn.functional.softmax(array, dim=-1),
        lambda: torch.nn.functional.cosine_similarity(array, array),
        lambda: torch.stack([array, array]),
        lambda: tensor * array,
        lambda: np.dtype(torch.float32),
        lambda: np.exp(tensor),
    ):
        with pytest.raises(TypeError):
            call()
    np.testing.assert_allclose(torch.softmax(tensor, dim=-1).numpy(), 1 / 3, rtol=1e-6)  # a rounding of float32
