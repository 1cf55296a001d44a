"""Convolutions and the average of windows backwards, against differences: stride, padding, dilation, groups."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given
from support.gradient_cases import assert_is_gradient, numbers
from support.layer_cases import Case

from npconv import gradients, layers
from npconv.errors import InputError

sides = st.integers(1, 5)
channels = st.integers(1, 3)
seeds = st.integers(0, 999)
pairs = st.integers(1, 3) | st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.integers(0, 2) | st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def windows(draw, most_dilation=2):
    """Draw a kernel, the options of a convolution, and the height and width of a map into which a window fits."""
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation, stride, padding = draw(st.integers(1, most_dilation)), draw(pairs), draw(paddings)
    pads = padding if isinstance(padding, tuple) else (padding, padding)
    least = [max((side - 1) * dilation + 1 - 2 * pad, 1) for side, pad in zip(kernel, pads, strict=True)]
    size = tuple(side + draw(st.integers(0, 3)) for side in least)
    return kernel, size, {"stride": stride, "padding": padding, "dilation": dilation}


@given(windows(), st.integers(1, 2), st.integers(1, 2), channels, channels, st.booleans(), seeds)
def test_conv2d(window, batch, groups, group_channels, group_outputs, has_bias, seed):
    kernel, size, options = window
    x, weight = (batch, groups * group_channels, *size), (groups * group_outputs, group_channels, *kernel)
    arrays = {"x": numbers(seed, *x), "weight": numbers(seed, *weight)}
    if has_bias:
        arrays["bias"] = numbers(seed, weight[0])
    assert_is_gradient(Case("", layers.conv2d, arrays, {**options, "groups": groups}), seed)


@given(windows(), st.integers(1, 2), channels, st.booleans(), seeds)
def test_depthwise_conv2d(window, batch, count, has_bias, seed):
    kernel, size, options = window
    arrays = {"x": numbers(seed, batch, count, *size), "weight": numbers(seed, count, 1, *kernel)}
    if has_bias:
        arrays["bias"] = numbers(seed, count)
    assert_is_gradient(Case("", layers.depthwise_conv2d, arrays, options), seed)


@given(windows(), st.integers(1, 2), channels, seeds)
def test_depthwise_conv2d_is_conv2d_with_as_many_groups_as_channels(window, batch, count, seed):
    kernel, size, options = window
    x, weight = numbers(seed, batch, count, *size), numbers(seed, count, 1, *kernel)
    grad_y = numbers(seed, *layers.depthwise_conv2d(x, weight, **options).shape)
    actual = gradients.depthwise_conv2d_backward(grad_y, x, weight, **options)
    expected = gradients.conv2d_backward(grad_y, x, weight, **options, groups=count)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)  # some hundred roundings of 1.1e-16, sums below 100


@given(st.integers(1, 2), channels, channels, sides, sides, st.booleans(), st.booleans(), seeds)
def test_pointwise_conv2d(batch, count, outputs, height, width, is_convolution, has_bias, seed):
    weight = (outputs, count, 1, 1) if is_convolution else (outputs, count)
    arrays = {"x": numbers(seed, batch, count, height, width), "weight": numbers(seed, *weight)}
    if has_bias:
        arrays["bias"] = numbers(seed, outputs)
    assert_is_gradient(Case("", layers.pointwise_conv2d, arrays), seed)


@given(st.integers(1, 2), channels, sides, sides, seeds)
def test_pad_end(batch, count, height, width, seed):
    assert_is_gradient(Case("", layers.pad_end, {"x": numbers(seed, batch, count, height, width)}), seed)


@given(windows(most_dilation=1), st.integers(1, 2), channels, st.booleans(), seeds)
@example(((3, 2), (4, 5), {"stride": (2, 3), "padding": (1, 1), "dilation": 1}), 2, 3, True, 0)  # beyond the padding
def test_average_pool2d(window, batch, count, ceil_mode, seed):
    kernel, size, options = window
    padding = options["padding"] if isinstance(options["padding"], tuple) else (options["padding"],) * 2
    padding = tuple(min(pad, side // 2) for pad, side in zip(padding, kernel, strict=True))
    size = tuple(max(side, least) for side, least in zip(size, kernel, strict=True))
    options = {"kernel_size": kernel, "stride": options["stride"], "padding": padding, "ceil_mode": ceil_mode}
    case = Case("", layers.average_pool2d, {"x": numbers(seed, batch, count, *size)}, options)
    assert_is_gradient(case, seed)


@given(windows(most_dilation=1), channels, seeds)
def test_what_falls_on_the_padding_is_cut_off(window, count, seed):
    """All of an upstream gradient goes back to the map and its padding: the map's part is less, by what is cut off."""
    kernel, size, options = window
    x, weight = numbers(seed, 1, count, *size), np.ones((count, 1, *kernel))
    grad_y = np.ones(layers.depthwise_conv2d(x, weight, **options).shape)
    grad_x, _, _ = gradients.depthwise_conv2d_backward(grad_y, x, weight, **options)
    inside = layers.depthwise_conv2d(np.ones(x.shape), weight, **options)  # how many positions each window sees
    assert grad_x.sum() == inside.sum()
    assert grad_x.sum() <= grad_y.sum() * kernel[0] * kernel[1]


X, WEIGHT, GRAD = np.ones((2, 3, 5, 6)), np.ones((4, 3, 3, 3)), np.ones((2, 4, 3, 4))
DEPTHWISE = np.ones((3, 1, 3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradients.conv2d_backward(GRAD[:, :, :2], X, WEIGHT), r"grad_y of 3 x 4 windows, got 2 x 4"),
        (lambda: gradients.conv2d_backward(GRAD, X, WEIGHT, stride=2), r"grad_y of 2 x 2 windows, got 3 x 4"),
        (lambda: gradients.conv2d_backward(GRAD, X, WEIGHT, padding=1), r"grad_y of 5 x 6 windows, got 3 x 4"),
        (lambda: gradients.conv2d_backward(GRAD, X, WEIGHT, dilation=2), r"grad_y of 1 x 2 windows, got 3 x 4"),
        (lambda: gradients.conv2d_backward(GRAD[:1], X, WEIGHT), r"expected grad_y of shape .*, got \(1, 4, 3, 4\)"),
        (lambda: gradients.conv2d_backward(GRAD[:, :3], X, WEIGHT), r"expected grad_y of shape .*, got \(2, 3, 3, 4\)"),
        (lambda: gradients.conv2d_backward(GRAD, X, WEIGHT, groups=3), "groups to divide the 4 output channels"),
        (lambda: gradients.conv2d_backward(GRAD, X, WEIGHT, stride=0), "expected stride to be an int or a pair"),
        (lambda: gradients.conv2d_backward(GRAD, X, np.ones((4, 3, 9, 9))), "9 x 9 window does not fit"),
        (
            lambda: gradients.depthwise_conv2d_backward(X[:, :, :2, :4], X, DEPTHWISE),
            r"depthwise_conv2d_backward: expected grad_y of 3 x 4 windows, got 2 x 4",
        ),
        (lambda: gradients.depthwise_conv2d_backward(X, X, WEIGHT[:3]), "use conv2d"),
        (lambda: gradients.pointwise_conv2d_backward(GRAD, X, np.ones((4, 3))), r"of shape \(2, 4, 5, 6\), got"),
        (lambda: gradients.pad_end_backward(X[0]), r"expected x of shape \(N, C, H\+1, W\+1\), got"),
        (lambda: pool(np.ones((2, 3, 2, 2))), r"average_pool2d_backward: expected grad_y of 2 x 3 windows, got 2 x 2"),
        (lambda: pool(np.ones((1, 3, 2, 3))), r"expected grad_y of shape \(2, 3, 2, 3\).*, got \(1, 3, 2, 3\)"),
        (lambda: pool(np.ones((2, 3, 2, 3)), padding=2), "expected a padding of at most half the window"),
        (lambda: pool(np.ones((2, 3, 2, 3)), kernel_size=7), "7 x 7 window does not fit into a 5 x 6 map"),
        (
            lambda: pool(np.ones((2, 3, 2, 3)), x_shape=(2, 3, 5)),
            r"x of shape \(N, C, H, W\), got \(2, 3, 5\)",
        ),
        (lambda: pool(np.ones((2, 3, 2, 3)), x_shape=7), "expected arguments that fit each other"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def pool(grad_y, x_shape=(2, 3, 5, 6), kernel_size=2, padding=0):
    """Go back through the average of windows of a small map."""
    return gradients.average_pool2d_backward(
        grad_y, x_shape, kernel_size=kernel_size, stride=2, padding=padding, ceil_mode=False
    )
