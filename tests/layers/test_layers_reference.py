"""Every layer against PyTorch in float64: an oracle that shares nothing with the naive twins. Needs the extra."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.layer_cases import CASES
from support.rounding import normal

from npconv.layers import average_pool2d

pytestmark = pytest.mark.reference


def torch_layers(torch):
    """Return PyTorch's function for each layer, with the arguments of ours."""
    functional = torch.nn.functional

    def convolve_each_channel(x, weight, bias, **options):
        return functional.conv2d(x, weight, bias, groups=x.shape[1], **options)

    def normalize(x, weight, bias, *, eps, axis):
        return functional.layer_norm(x.movedim(axis, -1), weight.shape, weight, bias, eps).movedim(-1, axis)

    def normalize_by_square(x, weight, *, eps, axis):
        return functional.rms_norm(x.movedim(axis, -1), weight.shape, weight, eps).movedim(-1, axis)

    def normalize_by_deviation(x, weight, *, eps, axis):
        x = x.movedim(axis, -1)
        return (x / torch.sqrt(torch.var(x, -1, keepdim=True) + eps) * weight).movedim(-1, axis)

    def normalize_batch(x, weight, bias, running_mean, running_var, num_batches_tracked, *, eps):
        return functional.batch_norm(x, running_mean, running_var, weight, bias, eps=eps)

    def normalize_training_batch(x, weight, bias, *, eps):
        return functional.batch_norm(x, None, None, weight, bias, training=True, eps=eps)

    def after_a_batch(statistic):
        """Return what a module in training keeps of a batch."""

        def renewed(x, stored, **options):
            module = torch.nn.BatchNorm2d(x.shape[1], **options).double()
            getattr(module, statistic).copy_(stored)
            module(x)
            return getattr(module, statistic)

        return renewed

    def drop(x, mask):
        return torch.einsum("n...,n->n..." if mask.ndim == 1 else "...,...->...", x, mask)

    def normalize_response(x, weight, bias, *, eps):
        x = x.movedim(1, -1)
        strength = torch.linalg.vector_norm(x, ord=2, dim=(1, 2), keepdim=True)
        return (weight * (x * (strength / (strength.mean(-1, keepdim=True) + eps))) + bias + x).movedim(-1, 1)

    def attend(query, key, value, *, num_heads, scale):
        heads = [x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value)]
        return functional.scaled_dot_product_attention(*heads, scale=scale).transpose(1, 2).flatten(2)

    def pool(x, *, kernel_size, stride, padding, ceil_mode):
        return functional.avg_pool2d(x, kernel_size, stride, padding, ceil_mode)

    def strength(x):
        return torch.linalg.vector_norm(x, ord=2, dim=(2, 3), keepdim=True)

    def respond(x, relative, weight, bias):
        return (weight * (x * relative).movedim(1, -1) + bias).movedim(-1, 1) + x

    def scores(query, key, *, num_heads, scale):
        query, key = (x.unflatten(-1, (num_heads, -1)) for x in (query, key))
        return torch.einsum("nthd,nshd->nhts", query, key) * scale

    def context(probabilities, value):
        value = value.unflatten(-1, (probabilities.shape[1], -1))
        return torch.einsum("nhts,nshd->nthd", probabilities, value).flatten(2)

    return {
        "conv2d": functional.conv2d,
        "depthwise_conv2d": convolve_each_channel,
        "pointwise_conv2d": lambda x, weight, bias: functional.conv2d(x, weight[:, :, None, None], bias),
        "layer_norm": normalize,
        "batch_norm": normalize_batch,
        "batch_norm_training": normalize_training_batch,
        **{name: after_a_batch(name) for name in ("running_mean", "running_var", "num_batches_tracked")},
        "drop": drop,
        "global_response_norm": normalize_response,
        "grn_strength": strength,
        "grn_relative": lambda x, *, eps: x / (x.mean(1, keepdim=True) + eps),
        "grn_apply": respond,
        "layer_scale": lambda x, scale: torch.einsum("nchw,c->nchw", x, scale),
        "gelu": functional.gelu,
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "relu": functional.relu,
        "silu": functional.silu,
        "selu": functional.selu,
        "mish": functional.mish,
        "hardswish": functional.hardswish,
        "identity": lambda x: x,
        "softmax": lambda x, *, axis: functional.softmax(x, axis),
        "linear": functional.linear,
        "attention": attend,
        "attention_scores": scores,
        "attention_context": context,
        "map_tokens": lambda x: x.flatten(2).mT,
        "positions_map": lambda x, *, height, width: x[:, -height * width :].mT.unflatten(2, (height, width)),
        "class_token": lambda x, *, height, width: x[:, : x.shape[1] - height * width],
        "join_class_token": lambda cls_token, x: torch.cat([cls_token.expand(len(x), -1, -1), x], dim=1),
        "token_mean": lambda x: x.mean(1),
        "global_average_pool": lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1),
        "global_max_pool": lambda x: functional.adaptive_max_pool2d(x, 1).flatten(1),
        "halfway": lambda x, y: torch.lerp(x, y, 0.5),
        "join_features": lambda x, y: torch.cat([x, y], 1),
        "pad_end": lambda x: functional.pad(x, (0, 1, 0, 1)),
        "rms_norm": normalize_by_square,
        "simple_norm": normalize_by_deviation,
        "average_pool2d": pool,
        "cross_entropy": functional.cross_entropy,
        "soft_cross_entropy": functional.cross_entropy,
        "mean_squared_error": functional.mse_loss,
        "binary_cross_entropy_with_logits": functional.binary_cross_entropy_with_logits,
    }


@pytest.mark.parametrize("case", [case for case in CASES if case.seed is None], ids=lambda case: case.name)
def test_equals_pytorch(case):
    torch = pytest.importorskip("torch")
    function = torch_layers(torch)[case.function.__name__]
    tensors = [torch.from_numpy(np.array(array)) for array in case.arrays.values()]
    expected = function(*tensors, **case.options).numpy()
    actual = np.asarray(case.run(case.arrays))
    assert actual.shape == expected.shape
    # At most some hundred roundings of 1.1e-16 each, on values whose terms add up to less than 100.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@given(st.data(), st.booleans())
def test_average_pool2d_cuts_its_windows_as_pytorch_does(data, ceil_mode):
    torch = pytest.importorskip("torch")
    kernel = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(max(1, k - 2 * p) + data.draw(st.integers(0, 7)) for k, p in zip(kernel, padding, strict=True))
    x = normal(0, 1, 1, *size)
    expected = torch.nn.functional.avg_pool2d(torch.from_numpy(x), kernel, stride, padding, ceil_mode).numpy()
    actual = average_pool2d(x, kernel_size=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13)  # 30 roundings of 1.1e-16 on values below 10
