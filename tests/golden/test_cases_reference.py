"""No false alarm: PyTorch's operations, its autograd and the models of transformers, in float32, pass all cases."""

import numpy as np
import pytest

from npconv.golden.blocks import BACKWARD, WRT, arguments_of
from npconv.golden.case import assert_close, cases

pytestmark = pytest.mark.reference


def tensors(case):
    """Return inputs and parameters as tensors."""
    import torch

    def tensor(array):
        return torch.from_numpy(np.array(array))

    return [tensor(array) for array in case.inputs], {name: tensor(array) for name, array in case.params.items()}


def functions():
    """Return PyTorch's function of each operation."""
    import torch
    from torch.nn import functional as f

    def layer_norm(x, weight, bias, eps, axis):
        return f.layer_norm(x.movedim(axis, -1), weight.shape, weight, bias, eps).movedim(-1, axis)

    def global_response_norm(x, weight, bias, eps):
        x = x.permute(0, 2, 3, 1)
        strength = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        y = weight * (x * (strength / (strength.mean(dim=-1, keepdim=True) + eps))) + bias + x
        return y.permute(0, 3, 1, 2)

    def split(x, num_heads):
        return x.reshape(*x.shape[:2], num_heads, -1).transpose(1, 2)

    def scores(query, key, num_heads, scale):
        return torch.einsum("bhlk,bhtk->bhlt", split(query, num_heads), split(key, num_heads)) * scale

    def attention(query, key, value, num_heads, scale):
        weights = torch.softmax(scores(query, key, num_heads, scale), -1)
        return torch.einsum("bhlt,bhtv->bhlv", weights, split(value, num_heads)).transpose(1, 2).reshape(query.shape)

    names = {"gelu": f.gelu, "gelu_new": lambda x: f.gelu(x, approximate="tanh")}
    names["quick_gelu"] = lambda x: x * torch.sigmoid(1.702 * x)
    return {
        "activation": lambda x, hidden_act: (names.get(hidden_act) or getattr(f, hidden_act))(x),
        "attention": attention,
        "attention_scores": scores,
        "average_pool2d": lambda x, **window: f.avg_pool2d(x, **window),
        "attention_context": lambda probabilities, value: (
            (probabilities @ split(value, probabilities.shape[1]))
            .transpose(1, 2)
            .reshape(value.shape[0], -1, value.shape[2])
        ),
        "batch_norm": lambda x, weight, bias, running_mean, running_var, eps: f.batch_norm(
            x, running_mean, running_var, weight, bias, eps=eps
        ),
        "batch_norm_training": lambda x, weight, bias, eps: f.batch_norm(
            x, None, None, weight, bias, training=True, eps=eps
        ),
        "binary_cross_entropy_with_logits": f.binary_cross_entropy_with_logits,
        "conv2d": f.conv2d,
        "cross_entropy": f.cross_entropy,
        "depthwise_conv2d": lambda x, weight, **others: f.conv2d(x, weight, groups=len(weight), **others),
        "global_average_pool": lambda x: x.mean((2, 3)),
        "global_max_pool": lambda x: x.amax((2, 3)),
        "global_response_norm": global_response_norm,
        "grn_strength": lambda x: torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True),
        "layer_norm": layer_norm,
        "layer_scale": lambda x, layer_scale_parameter: layer_scale_parameter[:, None, None] * x,
        "linear": f.linear,
        "mean_squared_error": f.mse_loss,
        "normalize": lambda x, mean, std: (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None],
        "pointwise_conv2d": lambda x, weight, bias=None: f.conv2d(x, weight.reshape(*weight.shape[:2], 1, 1), bias),
        "rescale": lambda x, factor: x.float() / 255,
        "softmax": lambda x, axis: torch.softmax(x, axis),
        "token_mean": lambda x: x.mean(1),
    }


OPERATIONS = [
    *("activation", "attention", "attention_context", "attention_scores", "average_pool2d", "batch_norm"),
    *("batch_norm_training", "binary_cross_entropy_with_logits", "conv2d", "cross_entropy", "depthwise_conv2d"),
    *("global_average_pool", "global_max_pool", "global_response_norm", "grn_strength", "layer_norm", "layer_scale"),
    *("linear", "mean_squared_error", "normalize", "pointwise_conv2d", "rescale", "softmax", "token_mean"),
]

#: Of pictures before the model, nobody takes gradients.
DIFFERENTIATED = [operation for operation in OPERATIONS if operation not in ("normalize", "rescale")]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_pytorch_passes(operation):
    function = functions()[operation]
    for case in cases(operation):
        inputs, params = tensors(case)
        assert_close(function(*inputs, **params, **case.attributes).numpy(), case.expected, case=case)


@pytest.mark.parametrize("operation", DIFFERENTIATED)
def test_autograd_passes(operation):
    function = functions()[operation]
    for case in cases(f"{operation}{BACKWARD}"):
        (grad_y, *inputs), params = tensors(case)
        attributes = dict(case.attributes)
        wrt = attributes.pop(WRT)
        leaf = {**dict(zip(arguments_of(operation), inputs, strict=False)), **params}[wrt].requires_grad_()
        function(*inputs, **params, **attributes).backward(grad_y)
        assert_close(leaf.grad.numpy(), case.expected, case=case)


@pytest.mark.parametrize("family", ["ConvNext", "ConvNextV2", "Cvt"])
def test_transformers_passes(family):
    """Of CvT with a class token and the exact GELU: transformers has no other."""
    import torch
    import transformers

    checked = 0
    for case in cases(f"{family.lower()}_classifier"):
        if case.name == "no_class_token":
            continue
        config = getattr(transformers, f"{family}Config")(**case.attributes["config"])
        model = getattr(transformers, f"{family}ForImageClassification")(config).eval()
        (pixel_values,), params = tensors(case)
        missing, unexpected = model.load_state_dict(params, strict=False)
        assert not unexpected
        assert all(name.endswith("num_batches_tracked") for name in missing)
        with torch.no_grad():
            assert_close(model(pixel_values).logits.numpy(), case.expected, case=case)
        checked += 1
    assert checked == 2
