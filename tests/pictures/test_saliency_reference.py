"""What speaks for a class, against autograd on the models of transformers."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import torch

from npconv.pictures import grad_cam, saliency
from tests.reference import parity

pytestmark = pytest.mark.reference

#: The farthest of these came to 3e-15.
BOUND = 1e-12
SHAPE = (2, 3, 29, 37)
LABELS = [2, 0]
FIELDS = {family: {**parity.TINY[family], "num_labels": 4} for family in parity.CLASSIFIERS}
FIELDS["cvt without class token"] = {**FIELDS["cvt"], "cls_token": [False, False]}

#: The modules of transformers whose output is the map of the first and the last stage, as tokens where a class token
#: goes on: those that the last attention takes.
MODULES = {
    "convnext": ("convnext.encoder.stages.0", "convnext.encoder.stages.1"),
    "convnextv2": ("convnextv2.encoder.stages.0", "convnextv2.encoder.stages.1"),
    "cvt": ("cvt.encoder.stages.0", "cvt.encoder.stages.1.layers.1.layernorm_before"),
    "cvt without class token": ("cvt.encoder.stages.0", "cvt.encoder.stages.1"),
}


def run_theirs(model, pixel_values, module=None):
    """Return the pixels' gradient, and the output of a module with its gradient."""
    kept = {}

    def keep(_, __, output):
        kept["map"] = output[0] if isinstance(output, tuple) else output
        kept["map"].retain_grad()

    hook = model.get_submodule(module).register_forward_hook(keep)
    x = torch.tensor(pixel_values).double().requires_grad_()
    without_token = {"output_hidden_states": True}  # which transformers needs for a CvT without class token
    model.eval()(x, **without_token).logits[[0, 1], LABELS].sum().backward()
    hook.remove()
    return x.grad.numpy(), kept["map"].detach().numpy(), kept["map"].grad.numpy()


def as_map(tokens, height, width):
    """Return the positions of tokens as a map; a map as it is."""
    if tokens.ndim == 4:
        return tokens
    return tokens[:, -height * width :].transpose(0, 2, 1).reshape(len(tokens), -1, height, width)


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("name", FIELDS)
def test_both_are_those_of_autograd(name, stage):
    pair = parity.make_pair(name.partition(" ")[0], "image_classification", FIELDS[name], SHAPE)
    pixels, feature_map, gradient = run_theirs(pair.theirs, pair.pixel_values, MODULES[name][stage])
    assert parity.distance(saliency(pair.ours, pair.pixel_values, LABELS), pixels) <= BOUND
    cam = grad_cam(pair.ours, pair.pixel_values, LABELS, stage)
    feature_map, gradient = (as_map(array, *cam.shape[1:]) for array in (feature_map, gradient))
    expected = np.maximum((gradient.mean(axis=(2, 3), keepdims=True) * feature_map).sum(axis=1), 0)
    assert expected.max() > 0
    assert parity.distance(cam, expected) <= BOUND
