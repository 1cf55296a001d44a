"""What holds for every backward function alike: it leaves its inputs alone, keeps to their library and dtype."""

import inspect
import warnings

import numpy as np
import pytest
from support import standins
from support.gradient_cases import CASES, WITHOUT_GRADIENT, backward_of
from support.rounding import FLOATS

from npconv import gradients, layers
from npconv.backend import device_module
from npconv.errors import InputError, UnavailableError

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

NOT_LAYERS = {"ACTIVATIONS", "NORMS", "norm_layer"}


def test_every_layer_has_a_backward_function_and_every_backward_function_a_case():
    names = set(layers.__all__) - NOT_LAYERS - set(WITHOUT_GRADIENT)
    assert set(gradients.__all__) == {f"{name}_backward" for name in names}
    assert {case.function.__name__ for case in CASES} == set(gradients.__all__) - {"activation_backward"}
    assert set(WITHOUT_GRADIENT) <= set(layers.__all__)


@every_case
def test_a_backward_function_is_the_mirror_of_its_layer(case):
    """In a file of the same name; its arguments are those of the layer, its result, or the shape of one."""
    layer = case.layer.function
    assert case.function.__module__.replace("gradients", "layers") == layer.__module__
    own, known = list(inspect.signature(case.function).parameters), inspect.signature(layer).parameters
    assert own[0] == "grad_y"
    extra = [name for name in own[1:] if name.removesuffix("_shape") not in known]
    assert set(extra) <= {"y", "mask"}
    assert set(case.function.gives) <= set(known)


@every_case
def test_says_what_it_returns(case):
    """A sentence that names each argument that it gives the gradient of."""
    first, gives = case.function.__doc__.partition("\n\n")[0], case.function.gives
    assert case.layer.function.__name__ in first
    assert all(f"`{name}`" in first for name in gives) or "both arguments" in first


@every_case
@pytest.mark.parametrize("dtype", FLOATS)
def test_each_gradient_has_the_dtype_of_its_array_and_no_input_is_written_to(case, dtype):
    """float16 is computed in float32: the same numbers, rounded once."""
    arrays = {name: standins.readonly(array) for name, array in case.arrays_as(dtype).items()}
    found = case.run(arrays)
    wide = "float32" if dtype == "float16" else dtype
    expected = case.run({name: array.astype(wide) if array.dtype == dtype else array for name, array in arrays.items()})
    for name, gradient in found.items():
        assert gradient.dtype == dtype
        np.testing.assert_array_equal(gradient, expected[name].astype(dtype))
    for name, array in case.arrays_as(dtype).items():
        np.testing.assert_array_equal(arrays[name], array)


@every_case
def test_a_gradient_has_the_dtype_of_its_own_array_among_others(case):
    """A float16 weight beside a float32 map, the upstream gradient in float64: each gets its own back.

    The result has the dtype of the first array.
    """
    dtypes = dict(zip(case.arrays, ["float64", *["float32", "float16"] * 4], strict=False)) | {"y": "float32"}
    arrays = {name: a if a.dtype.kind in "iu" else a.astype(dtypes[name]) for name, a in case.arrays.items()}
    for name, gradient in case.run(arrays).items():
        assert gradient.dtype == arrays.get(name, arrays["grad_y"]).dtype


@every_case
def test_memory_layout_makes_no_difference(case):
    """Channels-last memory, a view with steps: the values count, not how they lie."""
    arrays = {name: standins.strided(array) for name, array in case.arrays.items()}
    found, expected = case.run(arrays), case.run(case.arrays)
    for name in expected:
        # At most some hundred roundings of 1.1e-16 each, on values whose terms add up to less than 1000.
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-11)


@every_case
@pytest.mark.parametrize("dtype", FLOATS)
def test_runs_on_a_strict_device_with_the_values_of_numpy(case, dtype, device_stub):
    host = case.arrays_as(dtype)
    device = {name: standins.DeviceArray(standins.readonly(array)) for name, array in host.items()}
    device_stub.ledger.clear()
    found, expected = case.run(device), case.run(host)
    assert device_stub.ledger.to_host == 0
    for name, gradient in found.items():
        assert type(gradient) is standins.DeviceArray
        assert gradient.dtype == dtype
        np.testing.assert_array_equal(gradient.get(), expected[name])


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
    checks_labels = case.function is gradients.cross_entropy_backward
    assert device_stub.ledger.synchronised == (1 if checks_labels else 0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_runs_on_cupy_with_the_values_of_numpy(dtype):
    try:
        cupy = device_module("cuda")
    except UnavailableError as error:
        pytest.skip(str(error))
    for case in CASES:
        host = case.arrays_as(dtype)
        found = case.run({name: cupy.asarray(array) for name, array in host.items()})
        for name, expected in case.run(host).items():
            assert isinstance(found[name], cupy.ndarray)
            assert found[name].dtype == dtype
            # Sums in another order: at most some hundred roundings of terms below 1000, and one more to store float16.
            stored, summed = np.finfo(dtype).eps, np.finfo("float32" if dtype == "float16" else dtype).eps
            np.testing.assert_allclose(found[name].get(), expected, rtol=stored, atol=1e5 * summed, err_msg=case.name)


#: What takes a mean over the batch, of which an empty one has none.
MEANS_OF_BATCHES = (
    "batch_norm_training",
    "cross_entropy",
    "soft_cross_entropy",
    "mean_squared_error",
    "binary_cross_entropy_with_logits",
)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.layer.function.__name__ not in MEANS_OF_BATCHES], ids=lambda case: case.name
)
def test_an_empty_batch_has_empty_gradients_and_parameters_get_0(case):
    letters = getattr(case.layer.function, "shapes", {})
    of_batch = {name: letters.get(name, "...").split("|")[-1].split()[0] in ("N", "...") for name in case.layer.arrays}
    if case.layer.arrays.get("cls_token") is not None and len(case.layer.arrays["cls_token"]) == 1:
        of_batch["cls_token"] = False
    arrays = {name: array[:0] if array.ndim and of_batch[name] else array for name, array in case.layer.arrays.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty = backward_of(type(case.layer)(**{**vars(case.layer), "arrays": arrays}))
        found = empty.run(empty.arrays)
    for name in empty.gives:
        assert found[name].shape == arrays[name].shape
        assert not found[name].any()


@every_case
def test_what_is_missing_or_too_much_python_says(case):
    with pytest.raises(TypeError, match=f"{case.function.__name__}.* missing"):
        case.function()
    with pytest.raises(TypeError, match=r"takes|unexpected"):
        case.function(**case.arrays, **case.options, jump=1)


@every_case
def test_an_array_with_an_axis_too_many_is_refused(case):
    if case.function in (gradients.identity_backward, gradients.drop_path_backward, gradients.dropout_backward):
        pytest.skip("the gradient of any array, as it is or times its mask")
    arrays = {**case.arrays, "grad_y": case.arrays["grad_y"][None]}
    with pytest.raises(InputError) as refusal:
        case.run(arrays)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith(case.function.__name__)
