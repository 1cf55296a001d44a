"""What holds for every layer alike: it leaves its inputs alone, keeps to their library and dtype, equals its twin."""

import numpy as np
import pytest
from support import standins
from support.layer_cases import CASES
from support.rounding import FLOATS, accumulator

from npconv import layers
from npconv.backend import device_module
from npconv.errors import UnavailableError

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def test_every_layer_has_a_case():
    not_layers = {"ACTIVATIONS", "activation", "NORMS", "norm_layer"}
    assert {case.function.__name__ for case in CASES} == set(layers.__all__) - not_layers


@every_case
def test_equals_its_naive_twin(case):
    actual, expected = np.asarray(case.run(case.arrays)), case.twin(case.arrays)
    # At most some hundred roundings of 1.1e-16 each, on values whose terms add up to less than 100.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
    assert actual.shape == expected.shape


@every_case
@pytest.mark.parametrize("dtype", FLOATS)
def test_keeps_the_dtype_and_never_writes_to_an_input(case, dtype):
    arrays = {name: standins.readonly(array) for name, array in case.arrays_as(dtype).items()}
    y = case.run(arrays)
    assert y.dtype == case.result_dtype(dtype)
    for name, array in case.arrays_as(dtype).items():
        np.testing.assert_array_equal(arrays[name], array)


@every_case
def test_memory_layout_makes_no_difference(case):
    """Channels-last memory, a view with steps: the values count, not how they lie."""
    arrays = {name: standins.strided(array) for name, array in case.arrays.items()}
    np.testing.assert_allclose(case.run(arrays), case.run(case.arrays), rtol=0, atol=1e-12)  # as above


@every_case
@pytest.mark.parametrize("dtype", FLOATS)
def test_runs_on_a_strict_device_with_the_values_of_numpy(case, dtype, device_stub):
    host = case.arrays_as(dtype)
    device = {name: standins.DeviceArray(standins.readonly(array)) for name, array in host.items()}
    device_stub.ledger.clear()
    y = case.run(device)

    assert type(y) is standins.DeviceArray
    assert y.dtype == case.result_dtype(dtype)
    assert device_stub.ledger.to_host == 0
    np.testing.assert_array_equal(y.get(), case.run(host))


@every_case
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_computes_nothing_in_float64(case, dtype, device_stub):
    case.run({name: device_stub.asarray(array) for name, array in case.arrays_as(dtype).items()})
    assert "float64" not in device_stub.ledger.computed


@every_case
def test_waits_for_the_device_only_to_check_labels(case, device_stub):
    device = {name: device_stub.asarray(array) for name, array in case.arrays.items()}
    device_stub.ledger.clear()
    case.run(device)
    checks_labels = case.function is layers.cross_entropy
    assert device_stub.ledger.synchronised == (2 if checks_labels else 0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_runs_on_cupy_with_the_values_of_numpy(dtype):
    try:
        cupy = device_module("cuda")
    except UnavailableError as error:
        pytest.skip(str(error))
    for case in CASES:
        host = case.arrays_as(dtype)
        y = case.run({name: cupy.asarray(array) for name, array in host.items()})
        assert isinstance(y, cupy.ndarray)
        assert y.dtype == case.result_dtype(dtype)
        # Sums in another order: at most some hundred roundings of values below 100. float16 is stored by one more.
        stored, summed = np.finfo(dtype).eps, np.finfo(accumulator(dtype)).eps
        np.testing.assert_allclose(y.get(), case.run(host), rtol=stored, atol=1e4 * summed, err_msg=case.name)
