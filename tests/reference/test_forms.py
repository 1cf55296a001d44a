"""Forms of the outputs, and the places where transformers and its documentation, or npconv, differ."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from itertools import product

import numpy as np
import parity
import torch
import transformers

from weights_tools.goldens import reference

pytestmark = pytest.mark.reference

STAGED = {"num_stages": 2, "hidden_sizes": [5, 8], "depths": [1, 1], "patch_size": 2, "num_labels": 3}
CVT = {"embed_dim": [6, 8, 8], "num_heads": [2, 4, 1], "depth": [1, 2, 3], "patch_stride": [2, 2, 2], "num_labels": 3}
DINO = parity.TINY["dinov3_convnext"]
NO_CLASS_TOKEN = {**CVT, "cls_token": [False, False, False]}

MODELS = [
    ("convnext", "model", STAGED),
    ("convnext", "image_classification", STAGED),
    ("convnext", "backbone", {**STAGED, "out_features": ["stem", "stage2"]}),
    ("convnextv2", "model", STAGED),
    ("convnextv2", "image_classification", STAGED),
    ("convnextv2", "backbone", {**STAGED, "out_features": ["stem", "stage2"]}),
    ("cvt", "model", CVT),
    ("cvt", "model", NO_CLASS_TOKEN),
    ("cvt", "image_classification", CVT),
    ("dinov3_convnext", "model", DINO),
    ("dinov3_convnext", "backbone", {**DINO, "out_features": ["stem", "stage2"]}),
]


def form(value):
    """Return the shapes in an output, nested as they are."""
    if isinstance(value, tuple | list):
        return tuple(form(part) for part in value)
    return tuple(value.shape)


def fields_of(output):
    """Return the form of an output object: its class, and the shapes of its fields by name."""
    return type(output).__name__, {name: form(value) for name, value in output.items()}


@pytest.mark.parametrize(("family", "task", "fields"), MODELS)
@pytest.mark.parametrize("by_config", [False, True])
def test_outputs_have_the_form_of_transformers(family, task, fields, by_config):
    """Called there, set in the configuration here: ``config.return_dict = False`` breaks transformers' ConvNeXt."""
    pair = parity.make_pair(family, task, fields, (2, 3, 16, 19))
    x = torch.tensor(pair.pixel_values).double()
    label_sets = [None, [0, 2]] if task == "image_classification" else [None]
    for hidden_states, return_dict, labels in product([False, True], [True, False], label_sets):
        arguments = {"output_hidden_states": hidden_states, "return_dict": return_dict}
        with torch.no_grad():
            theirs = pair.theirs(x, **arguments, **({"labels": torch.tensor(labels)} if labels else {}))
        if by_config:
            for name, value in arguments.items():
                setattr(pair.ours.config, name, value)
            arguments = {}
        ours = pair.ours(pair.pixel_values, **arguments, **({"labels": np.array(labels)} if labels else {}))
        if return_dict:
            assert fields_of(ours) == fields_of(theirs)
            assert form(ours.to_tuple()) == form(theirs.to_tuple())
            assert len(ours) == len(theirs)
            assert list(ours) == list(theirs)
            first = next(iter(theirs))
            for key in (0, first):
                if not isinstance(theirs[key], tuple):
                    np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-10)
        else:
            assert isinstance(ours, tuple)
            assert form(ours) == form(theirs)


def test_cvt_without_class_token_needs_hidden_states_in_transformers_only():
    pair = parity.make_pair("cvt", "image_classification", NO_CLASS_TOKEN, (1, 3, 16, 19))
    x = torch.tensor(pair.pixel_values).double()
    with pytest.raises(IndexError), torch.no_grad():
        pair.theirs(x)
    with torch.no_grad():
        theirs = pair.theirs(x, output_hidden_states=True)
        as_tuple = pair.theirs(x, output_hidden_states=True, return_dict=False)
    assert parity.distance(pair.ours(pair.pixel_values).logits, theirs.logits.numpy()) <= 1e-10
    # There the tuple loses its hidden states: the classifier takes them for the class token. Here it keeps them.
    assert len(as_tuple) == 1
    assert len(pair.ours(pair.pixel_values, output_hidden_states=True, return_dict=False)) == 2


@pytest.mark.parametrize("method", ["avg", "linear"])
def test_cvt_projection_methods_that_transformers_names_and_does_not_run(method):
    config = transformers.CvtConfig(**{**CVT, "qkv_projection_method": [method] * 3})
    model = transformers.CvtForImageClassification(config)
    with pytest.raises(AttributeError, match="convolution_projection"):
        model(torch.zeros(1, 3, 16, 19))


def test_cvt_stages_with_few_blocks_do_not_build_in_transformers():
    with pytest.raises(IndexError):
        transformers.CvtModel(transformers.CvtConfig(**{**CVT, "depth": [1, 1, 1]}))


def test_selu_is_documented_and_missing_in_transformers():
    assert "selu" not in transformers.activations.ACT2CLS  # ACT2FN is made of it, and extended by the reference


def test_problem_type_is_stored_by_transformers_and_inferred_by_each_call_here():
    pair = parity.make_pair("convnext", "image_classification", STAGED, (2, 3, 16, 19))
    x = torch.tensor(pair.pixel_values).double()
    with torch.no_grad():
        pair.theirs(x, labels=torch.tensor([0, 2]))
    pair.ours(pair.pixel_values, labels=np.array([0, 2]))
    assert pair.theirs.config.problem_type == "single_label_classification"
    assert pair.ours.config.problem_type is None


def eps_by_site(model):
    """Return the epsilons of all normalizations, by the kind of place where they stand."""
    found = {}
    for name, module in model.named_modules():
        if hasattr(module, "eps"):
            site = "final" if name in ("layernorm", "convnext.layernorm", "convnextv2.layernorm") else "inner"
            found.setdefault((type(module).__name__.removeprefix("ConvNext").removeprefix("V2"), site), set())
            found[type(module).__name__.removeprefix("ConvNext").removeprefix("V2"), site].add(module.eps)
    return found


@pytest.mark.parametrize("family", ["convnext", "convnextv2"])
def test_epsilons_of_transformers_are_those_of_the_ledger(family):
    classifier = reference.build(family, "image_classification", {**STAGED, "layer_norm_eps": 0.25})
    assert eps_by_site(classifier) == {("LayerNorm", "inner"): {1e-6}, ("LayerNorm", "final"): {0.25}}
    backbone = reference.build(family, "backbone", STAGED)
    assert eps_by_site(backbone) == {("LayerNorm", "inner"): {1e-6}}


def test_epsilons_of_cvt_in_transformers_are_those_of_the_ledger():
    classifier = reference.build("cvt", "image_classification", {**CVT, "layer_norm_eps": 0.25})
    expected = {("LayerNorm", "inner"): {1e-5}, ("LayerNorm", "final"): {1e-5}, ("BatchNorm2d", "inner"): {1e-5}}
    assert eps_by_site(classifier) == expected
