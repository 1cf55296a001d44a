"""What says the shapes of a layer: bound letters, widened float16, errors, and one frame to step over."""

import inspect
import sys

import numpy as np
import pytest
from support import standins
from support.layer_cases import CASES
from support.rounding import normal

from npconv import layers
from npconv.errors import InputError
from npconv.layers.shapes import shapes

SHAPED = [case for case in CASES if hasattr(case.function, "shapes")]
every_case = pytest.mark.parametrize("case", SHAPED, ids=lambda case: case.name)


@shapes(x="N C H W", weight="O C/groups kh kw | O C", bias="O", groups="divides O", result="N O H W")
def mix(x, weight, bias=None, *, groups=1, seen=None):
    """Return zeros of the shape of a convolution, and note what came."""
    if seen is not None:
        seen.update(x=x, weight=weight, bias=bias)
    return x[:, :1] * 0 + weight.reshape(weight.shape[0], -1)[:, :1, None]


X, WEIGHT, BIAS = normal(0, 2, 4, 3, 5), normal(0, 6, 4, 1, 1), normal(0, 6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mix(X[0], WEIGHT), r"^mix: expected x of shape \(N, C, H, W\), got \(4, 3, 5\); add or remove axes"),
        (lambda: mix(X, WEIGHT[0, 0, 0]), r"^mix: expected a weight with 4 or 2 axes, got shape \(1,\)$"),
        (
            lambda: mix(X, WEIGHT[:, :3]),
            r"^mix: the weights expect 3 channels on axis 1 of x, got x of shape \(2, 4, 3",
        ),
        (lambda: mix(X, WEIGHT[:, :3, 0, 0]), "^mix: the weights expect 3 channels on axis 1 of x"),
        (lambda: mix(X, WEIGHT[:, :2], groups=4), "^mix: expected groups to divide the 6 output channels, got 4$"),
        (lambda: mix(X, WEIGHT, groups=-1), "^mix: expected groups to divide the 6 output channels, got -1$"),
        (lambda: mix(X, WEIGHT, BIAS[:5]), r"^mix: expected bias of shape \(6,\), got \(5,\)$"),
        (lambda: mix(X, WEIGHT, bias=BIAS[None]), r"^mix: expected bias of shape \(6,\), got \(1, 6\)$"),
        (lambda: mix(X, WEIGHT.astype(int)), "^expected a floating-point array, got int64; convert"),
        (lambda: mix(X, None), "^expected a NumPy or CuPy array, got NoneType; convert"),
        (lambda: mix(X, weight=[1.0]), "^expected a NumPy or CuPy array, got list; convert"),
        (
            lambda: layers.batch_norm(X, *[np.ones(4)] * 3, np.ones(3), eps=1.0),
            r"^batch_norm: expected weight, bias, running_mean and running_var of one shape \(4,\), got \(4,\), "
            r"\(4,\), \(4,\) and \(3,\)$",
        ),
        (
            lambda: layers.attention(X[0], X[0, :, :2], X[0, :1], num_heads=1, scale=1.0),
            r"^attention: expected key and value of one shape \(4, S, 5\), got \(4, 2, 5\) and \(1, 3, 5\)$",
        ),
        (
            lambda: layers.attention(X[0], X[0, :, :, :2], [1.0], num_heads=1, scale=1.0),
            r"^attention: expected key and value of one shape \(4, S, 5\), got \(4, 3, 2\) and list$",
        ),
        (lambda: mix(weight=WEIGHT, bias=BIAS[1:]), r"^mix: expected bias of shape \(6,\), got \(5,\)$"),
        (
            lambda: layers.layer_norm(X, BIAS[None], BIAS, eps=1.0, axis=1),
            "^layer_norm: expected a weight with 1 axis, got",
        ),
        (
            lambda: layers.cross_entropy(X, np.ones(2), ignore_index=0),
            r"^cross_entropy: expected x of shape \(N, K\), got logits of shape \(2, 4, 3, 5\); add or remove axes",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_what_fits_runs():
    for weight in (WEIGHT, WEIGHT[:, :, 0, 0]):
        assert mix(X, weight).shape == mix(X, weight=weight, bias=BIAS).shape == (2, 6, 3, 5)
    assert mix(X, WEIGHT[:, :2], None, groups=2).shape == (2, 6, 3, 5)


def test_float16_is_widened_inside_and_the_result_narrowed():
    seen = {}
    half = {"x": X.astype("float16"), "weight": WEIGHT.astype("float16"), "bias": BIAS.astype("float16")}
    for args, kwargs in ([half["x"]], {"weight": half["weight"], "bias": half["bias"]}), (list(half.values()), {}):
        assert mix(*args, **kwargs, seen=seen).dtype == "float16"
        for name, array in seen.items():
            assert array.dtype == "float32"
            np.testing.assert_array_equal(array, half[name])
    assert mix(X, half["weight"], seen=seen).dtype == "float64"
    assert seen["x"] is X
    assert seen["weight"].dtype == "float32"
    assert seen["bias"] is None


def test_an_array_of_the_device_stays_there(device_stub):
    x, weight = (device_stub.asarray(array.astype("float16")) for array in (X, WEIGHT))
    device_stub.ledger.clear()
    y = mix(x, weight)
    assert type(y) is standins.DeviceArray
    assert y.dtype == "float16"
    assert (device_stub.ledger.to_host, device_stub.ledger.to_device, device_stub.ledger.synchronised) == (0, 0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mix(X), r"mix\(\) missing 1 required positional argument: 'weight'"),
        (lambda: mix(weight=WEIGHT), r"mix\(\) missing 1 required positional argument: 'x'"),
        (lambda: mix(X, WEIGHT, x=X), r"mix\(\) got multiple values for argument 'x'"),
        (lambda: mix(X, WEIGHT, kernel=3), r"mix\(\) got an unexpected keyword argument 'kernel'"),
        (lambda: mix(X, WEIGHT, BIAS, 1), r"mix\(\) takes from 2 to 3 positional arguments but 4 "),
        (lambda: mix(X, WEIGHT, BIAS, 1, None, None), r"mix\(\) takes from 2 to 3 positional arguments but 6 "),
        (lambda: layers.attention(X[0], X[0], X[0], scale=1.0), r"attention\(\) missing 1 .*: 'num_heads'"),
        (lambda: layers.layer_norm(X, BIAS[:4], BIAS[:4], eps=1.0), r"layer_norm\(\) missing 1 .*: 'axis'"),
    ],
)
def test_a_call_that_is_not_one_is_pythons_own_error(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@every_case
def test_the_result_has_the_letters_that_are_said(case):
    """Letters that only the result has, H' and W', are of any length."""
    y, x, lengths = case.run(case.arrays), next(iter(case.arrays.values())), {}
    said = {name: text.split("|") for name, text in case.function.shapes.items()}
    for name, array in case.arrays.items():
        for letters in (form.split() for form in said.get(name, [])):
            if letters[:1] == ["..."] or len(letters) == array.ndim:
                lengths.update(zip(reversed(letters), reversed(array.shape), strict=False))
    (result,) = (text.split() for text in said["result"])
    if result[:1] == ["..."]:
        assert y.shape == (*x.shape[:-1], x.shape[-1] if result[-1] == "..." else lengths[result[-1]])
    else:
        assert y.ndim == len(result)
        assert all(lengths.get(letter, n) == n for letter, n in zip(result, y.shape, strict=True))


@every_case
def test_a_layer_is_one_frame_away_from_its_caller(case):
    code = inspect.unwrap(case.function).__code__
    between = []

    def note(frame, event, _):
        if event == "call" and frame.f_code is code and not between:
            while frame.f_back.f_code is not case.run.__func__.__code__:
                frame = frame.f_back
                between.append(frame.f_code.co_name)
            between.append("the case")

    before = sys.gettrace()
    sys.settrace(note)
    try:
        case.run(case.arrays)
    finally:
        sys.settrace(before)
    assert between == ["call", "the case"]


@every_case
def test_source_and_signature_are_those_of_the_mathematics(case):
    source = inspect.getsource(case.function)
    assert source.startswith(("@shapes(", "@guarded(", "@elementwise\n"))
    assert f"def {case.function.__name__}(" in source
    assert "return " in source
    assert inspect.signature(case.function) == inspect.signature(inspect.unwrap(case.function))
    assert case.function.__module__.startswith("npconv.layers.")
