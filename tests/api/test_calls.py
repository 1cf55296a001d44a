import numpy as np
import pytest
from support.builders import BACKBONES, BARE_MODELS, CLASSIFIERS, CONFIGS, FAMILIES, filled_model, pictures

import npconv
from npconv import InputError


@pytest.fixture(params=FAMILIES)
def classifier(request):
    return filled_model(CLASSIFIERS[request.param], CONFIGS[request.param])


def test_every_calling_form_gives_the_same(classifier):
    x, labels = pictures(), np.array([1, 3])
    expected = classifier(pixel_values=x).logits
    for outputs in (classifier(x), classifier([x]), classifier((x,)), classifier({"pixel_values": x})):
        np.testing.assert_array_equal(outputs.logits, expected)
    np.testing.assert_array_equal(classifier({"pixel_values": list(x)}).logits, expected)
    loss = classifier(x, labels).loss
    for outputs in (
        classifier([x, labels]),
        classifier({"pixel_values": x, "labels": labels}),
        classifier(x, labels=labels),
    ):
        assert outputs.loss == loss
    assert classifier({"pixel_values": x, "return_dict": False})[0].shape == (2, 4)
    assert classifier(x, training=False).logits.shape == (2, 4)


def test_processor_output_is_an_input(classifier):
    processor = npconv.ConvNextImageProcessor(size={"shortest_edge": 24}, crop_pct=1.0)
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    inputs = processor(picture)
    np.testing.assert_array_equal(classifier(**inputs).logits, classifier(inputs).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_bare_models_take_lists_and_dicts_too(family):
    model, x = filled_model(BARE_MODELS[family], CONFIGS[family]), pictures()
    expected = model(x).last_hidden_state
    np.testing.assert_array_equal(model([x]).last_hidden_state, expected)
    np.testing.assert_array_equal(model({"pixel_values": x}).last_hidden_state, expected)


def test_hidden_states_by_call_and_by_configuration():
    config = npconv.ConvNextConfig(hidden_sizes=[4, 6], depths=[1, 1], num_stages=2, output_hidden_states=True)
    model = npconv.ConvNextModel(config)
    assert len(model(pictures()).hidden_states) == 3
    assert model(pictures(), output_hidden_states=False).hidden_states is None
    config.output_hidden_states = False
    assert model(pictures()).hidden_states is None
    assert len(model(pictures(), output_hidden_states=True).hidden_states) == 3


@pytest.mark.parametrize(
    ("model_class", "family", "length"),
    [
        (npconv.ConvNextForImageClassification, "convnext", 1),
        (npconv.ConvNextV2Model, "convnextv2", 2),
        (npconv.CvtModel, "cvt", 2),
        (npconv.ConvNextBackbone, "convnext", 1),
    ],
)
def test_tuples_by_call_and_by_configuration(model_class, family, length):
    config = type(CONFIGS[family]).from_dict({**CONFIGS[family].to_dict(), "return_dict": False})
    model = filled_model(model_class, config)
    outputs = model(pictures())
    assert isinstance(outputs, tuple)
    assert len(outputs) == length
    assert len(model(pictures(), output_hidden_states=True)) == length + 1
    assert not isinstance(model(pictures(), return_dict=True), tuple)


def test_a_classifier_with_labels_returns_the_loss_first(classifier):
    loss, logits, hidden_states = classifier(pictures(), labels=[0, 1], output_hidden_states=True, return_dict=False)
    assert loss.shape == ()
    assert logits.shape == (2, 4)
    assert len(hidden_states) >= 3


def test_cvt_without_a_class_token_in_the_last_stage_simply_works():
    config = npconv.CvtConfig(embed_dim=[4, 6], num_heads=[1, 2], depth=[1, 1], cls_token=[False, False])
    outputs = npconv.CvtModel(config)(pictures())
    assert outputs.cls_token_value is None
    assert list(outputs) == ["last_hidden_state"]
    assert npconv.CvtForImageClassification(config)(pictures()).logits.shape == (2, 2)


def test_training_with_a_seed_can_be_repeated_and_differs_from_inference():
    config = npconv.ConvNextConfig(**{**CONFIGS["convnext"].to_dict(), "drop_path_rate": 0.5, "label2id": None})
    model, x = filled_model(npconv.ConvNextForImageClassification, config), pictures(batch=8)
    first = model(x, training=True, rng=7).logits
    np.testing.assert_array_equal(first, model(x, training=True, rng=np.random.default_rng(7)).logits)
    assert np.abs(first - model(x).logits).max() > 1e-3
    np.testing.assert_array_equal(model(x).logits, model(x, rng=7).logits)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, "expected pixel_values"),
        ([], "expected pixel_values"),
        ({"pixels": pictures()}, "got 'pixels'"),
        ([pictures(), [1, 2], 3], "at most 2 inputs"),
        ("photo.jpg", "expected a NumPy or CuPy array, got str"),
        (pictures()[0], r"\(N, 3, H, W\), got \(3, 21, 17\)"),
        (pictures(channels=5), r"\(N, 3, H, W\), got \(2, 5, 21, 17\)"),
        (np.zeros((1, 3, 24, 24), np.uint8), "floating-point pixel_values, got uint8"),
        ({"pixel_values": [np.zeros((3, 8, 8)), np.zeros((3, 8, 9))]}, "of one shape"),
    ],
)
def test_inputs_that_fit_no_model_are_refused(classifier, inputs, message):
    with pytest.raises(InputError, match=message):
        classifier(inputs)


@pytest.mark.parametrize("family", ["convnext", "convnextv2"])
def test_pictures_too_small_are_refused(family):
    model = filled_model(CLASSIFIERS[family], CONFIGS[family])
    with pytest.raises(InputError, match="at least 8 x 8 pixels for 3 stages, got 21 x 7"):
        model(pictures(width=7))


def test_no_model_writes_to_its_input_or_parameters():
    for family, model_class in [*CLASSIFIERS.items(), *BARE_MODELS.items(), *BACKBONES.items()]:
        model = filled_model(model_class, CONFIGS[family])
        x = pictures()
        x.flags.writeable = False
        for array in model.state_dict().values():
            array.flags.writeable = False
        model(x, training=True, rng=0)


def test_labels_and_generators_that_are_none_are_refused(classifier):
    with pytest.raises(InputError, match="expected labels of one shape"):
        classifier(pictures(), labels=[[1], [1, 2]])
    for rng in (-1, "a"):
        with pytest.raises(InputError, match="expected rng to be"):
            classifier(pictures(), training=True, rng=rng)


@pytest.mark.parametrize("training", ["False", 1, [], np.array([0, 1])], ids=repr)
def test_a_training_mode_of_another_kind_is_refused_and_not_taken_for_yes(classifier, training):
    with pytest.raises(InputError, match="expected training to be True or False, got"):
        classifier(pictures(), training=training)
    assert classifier(pictures(), training=np.False_).logits.shape == (2, 4)
