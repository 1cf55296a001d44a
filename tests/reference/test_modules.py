"""What is typed on models, live against transformers: names, counts, weights that go over, and what is returned."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import torch
import transformers

import npconv
from tests.support.families import CLASSES

pytestmark = pytest.mark.reference

STAGED = {"hidden_sizes": [6, 10, 14], "depths": [1, 2, 1], "num_stages": 3, "patch_size": 2, "num_labels": 4}
FIELDS = {
    "convnext": {**STAGED, "layer_scale_init_value": 0.5},
    "convnextv2": STAGED,
    # Stage i has more than i blocks: transformers asks for that.
    "cvt": {"embed_dim": [6, 10, 12], "num_heads": [1, 2, 3], "depth": [1, 2, 3], "num_labels": 4},
    "dinov3_convnext": {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 2, 1, 1]},
}
X = np.random.default_rng(0).standard_normal((2, 3, 64, 64))


@pytest.fixture(params=CLASSES, ids=[kind.__name__ for kind in CLASSES.values()])
def pair(request):
    """The same model twice, in float64: ours and theirs."""
    family, _ = request.param
    kind = CLASSES[request.param]
    theirs = getattr(transformers, kind.__name__)(getattr(transformers, kind.config_class.__name__)(**FIELDS[family]))
    ours = kind(kind.config_class(**FIELDS[family]), seed=1).double()
    theirs = theirs.double().eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def comparable(name):
    """Return a name of transformers as ours: it has the encoder of DINOv3 in a part of its own, which files lack."""
    return name.removeprefix("model.")


def same(actual, expected):
    # Both in float64, with sums of at most some hundred terms in another order.
    np.testing.assert_allclose(np.asarray(actual), expected.detach().numpy(), rtol=1e-9, atol=1e-9)


def outputs_of(output):
    """Return the arrays of an output, those in tuples one by one."""
    flat = []
    for value in output.values():
        flat += value if isinstance(value, tuple | list) else [value]
    return flat


def test_a_state_dict_of_torch_gives_its_numbers(pair):
    ours, theirs = pair
    with torch.no_grad():
        expected = theirs(torch.tensor(X), output_hidden_states=True)
    for actual, truth in zip(outputs_of(ours(X, output_hidden_states=True)), outputs_of(expected), strict=True):
        same(actual, truth)


def test_names_and_counts_of_parameters(pair):
    ours, theirs = pair
    for of_ours, of_theirs in (
        (ours.named_parameters(), theirs.named_parameters()),
        (ours.named_buffers(), theirs.named_buffers()),
        (ours.state_dict().items(), theirs.state_dict().items()),
    ):
        expected = {comparable(name): tuple(tensor.shape) for name, tensor in of_theirs}
        assert {name: array.shape for name, array in of_ours} == expected
    assert ours.num_parameters() == theirs.num_parameters()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert ours.get_memory_footprint() == theirs.get_memory_footprint()
    for model in pair:
        for parameter in list(model.parameters())[::3]:
            parameter.requires_grad = False
    assert ours.num_parameters(only_trainable=True) == theirs.num_parameters(only_trainable=True)


def test_every_parameter_is_where_it_is_in_theirs(pair):
    ours, theirs = pair
    for name, tensor in theirs.named_parameters():
        found = ours
        for component in name.split("."):
            found = found[int(component)] if component.isdigit() else getattr(found, component)
        same(found, tensor)


def test_parts_are_where_they_are_in_theirs(pair):
    ours, theirs = pair
    with_parameters = {comparable(n) for n, m in theirs.named_modules() if n != "model" and list(m.parameters())}
    assert {name for name, _ in ours.named_modules()} == with_parameters
    for name, module in theirs.named_modules():
        if isinstance(module, torch.nn.Linear):
            part = ours.get_submodule(comparable(name))
            assert (part.in_features, part.out_features) == (module.in_features, module.out_features)
            features = np.ones((3, module.in_features))
            same(part(features), module(torch.tensor(features)))


def test_the_base_model(pair):
    ours, theirs = pair
    if ours.config.model_type != "dinov3_convnext":  # whose base there is an encoder, which no file names
        assert type(ours.base_model).__name__ == type(theirs.base_model).__name__
    assert ours.base_model_prefix == theirs.base_model_prefix
    assert ours.main_input_name == theirs.main_input_name
    assert ours.name_or_path == theirs.name_or_path


def test_what_is_missing_and_unexpected_is_named_alike(pair):
    ours, theirs = pair
    state = dict(theirs.state_dict())
    state.pop(next(iter(state)))
    state["surplus.weight"] = torch.zeros(2)
    actual, expected = (model.load_state_dict(state, strict=False) for model in pair)
    assert actual.missing_keys == [comparable(name) for name in expected.missing_keys]
    assert actual.unexpected_keys == expected.unexpected_keys
    assert (
        theirs.load_state_dict(theirs.state_dict()).missing_keys == ours.load_state_dict(theirs.state_dict())[0] == []
    )


def test_what_does_not_fit_is_the_same_error(pair):
    _, theirs = pair
    state = dict(theirs.state_dict())
    name = next(iter(state))
    wrong = [{}, {**state, name: torch.zeros(3)}, {**state, "surplus": torch.zeros(1)}]
    for model in pair:
        for attempt in wrong:
            with pytest.raises(RuntimeError):
                model.load_state_dict(attempt)
        with pytest.raises(RuntimeError):
            model.load_state_dict(wrong[1], strict=False)
        with pytest.raises(ValueError, match="training mode"):
            model.train("yes")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_tensors_of_every_dtype_are_taken(dtype):
    kind = npconv.ConvNextModel
    theirs = transformers.ConvNextModel(transformers.ConvNextConfig(**FIELDS["convnext"])).to(dtype)
    ours = kind(npconv.ConvNextConfig(**FIELDS["convnext"]), seed=1)
    ours.load_state_dict(theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name], tensor.float().numpy())


def test_a_list_chooses_the_hidden_states_that_it_chooses_there(pair):
    """But in CvT, which gives all of them there for any list; here those of the list, as the other families."""
    ours, theirs = pair
    is_cvt, is_dinov3 = (ours.config.model_type == family for family in ("cvt", "dinov3_convnext"))
    for wanted in ([1, -1], [0], (2,), 1, -1, [9], [-9, 1], [], 0, True, False, None):
        if is_dinov3 and wanted in ([1, -1], -1, [-9, 1]):  # counting from the end is refused there
            continue
        with torch.no_grad():
            expected = theirs(torch.tensor(X), output_hidden_states=wanted).hidden_states
        actual = ours(X, output_hidden_states=wanted).hidden_states
        assert (actual is None) == (expected is None)
        for one, other in zip(actual or (), expected or (), strict=True):
            assert (one is None) == (other is None) or (is_cvt and one is None)
            if one is not None:
                same(one, other)


def test_dtypes_and_devices_of_torch():
    model = npconv.ConvNextModel(npconv.ConvNextConfig(**FIELDS["convnext"]))
    assert model.to(torch.float64).dtype == np.float64
    assert model.to(torch.device("cpu")).dtype == np.float64
    assert model.to("cpu", torch.float16).dtype == np.float16
    assert model.to(torch.zeros(1)).dtype == np.float32
    assert torch.zeros(1).to(model.device).device == torch.device(model.device)


def test_layers_of_torch_can_be_set():
    model = npconv.ConvNextForImageClassification(npconv.ConvNextConfig(**FIELDS["convnext"]))
    layer = torch.nn.Linear(14, 4)
    model.classifier = layer
    features = np.ones((1, 14), np.float32)
    # Sums of 14 terms in float32.
    np.testing.assert_allclose(model.classifier(features), layer(torch.tensor(features)).detach(), rtol=1e-5, atol=1e-6)
    model.classifier.bias = layer.weight[:, 0]
    np.testing.assert_array_equal(model.classifier.bias, layer.weight[:, 0].detach())
    with pytest.raises(RuntimeError, match=r"\(10, 13\), expected \(10, 14\)"):
        model.classifier = torch.nn.Linear(13, 10)
    assert model.config.num_labels == 4
    model.classifier = torch.nn.Linear(14, 10)
    assert model.config.num_labels == len(model.config.id2label) == 10
    pictures = np.ones((1, 3, 32, 32), np.float32)
    assert model(pictures).logits.shape == (1, 10)
    model.classifier = torch.nn.Identity()
    assert (model.config.num_labels, model(pictures).logits.shape) == (0, (1, 14))


def test_idioms_of_notebooks():
    config = npconv.CvtConfig(**FIELDS["cvt"])
    model = npconv.CvtForImageClassification(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        model.to(device).eval()
    assert next(model.parameters()).device.type == "cpu"
    total = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert total == trainable == model.num_parameters()
    for name, param in model.named_parameters():
        if not name.startswith("classifier"):
            param.requires_grad = False
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 4 * 12 + 4
    with torch.no_grad():
        assert model(X.astype(np.float32)).logits.shape == (2, 4)
    assert model.classifier.weight.detach().cpu().numpy().shape == (4, 12)
    theirs = transformers.CvtForImageClassification(transformers.CvtConfig(**FIELDS["cvt"]))
    theirs.load_state_dict({name: torch.tensor(array) for name, array in model.state_dict().items()})
    # A float32 forward pass of two blocks and more, with sums in another order; the logits are at most about 1.
    logits = theirs.eval()(torch.tensor(X, dtype=torch.float32)).logits.detach()
    np.testing.assert_allclose(model(X).logits, logits, atol=1e-5)
