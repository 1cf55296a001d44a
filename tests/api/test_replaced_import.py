"""What programs do with models beside calling them, and what no example of the documentation shows."""

import json
import types

import numpy as np
import pytest
from support.builders import BARE_MODELS, CLASSIFIERS, CONFIGS, filled_model, pictures

import npconv
from npconv import AutoConfig, AutoModel, InputError, NpconvWarning
from npconv.errors import MisfitError

ENGINES = pytest.mark.parametrize("engine", ["explicit", "fast"])
FAMILIES = pytest.mark.parametrize("family", CLASSIFIERS)


class Identity:
    """Stands for the layer of torch that does nothing."""


def linear(classes, width):
    """Return the state of a linear layer."""
    rng = np.random.default_rng(0)
    return {"weight": rng.normal(size=(classes, width)).astype("float32"), "bias": np.ones(classes, np.float32)}


# Classes made from a model's


def test_a_forward_of_a_users_class_is_what_a_call_runs():
    class Doubled(npconv.ConvNextForImageClassification):
        def forward(self, pixel_values=None, scale=2, **options):
            output = super().forward(pixel_values, **options)
            output["logits"] = output.logits * scale
            return output

    x = pictures()
    expected = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])(x).logits
    model = filled_model(Doubled, CONFIGS["convnext"])
    np.testing.assert_array_equal(model(x).logits, expected * 2)
    np.testing.assert_array_equal(model(pixel_values=x, scale=3, output_hidden_states=True).logits, expected * 3)


def test_an_output_takes_the_fields_that_it_has():
    output = filled_model(BARE_MODELS["convnext"], CONFIGS["convnext"])(pictures())
    output["pooler_output"] = None
    assert list(output) == ["last_hidden_state"]
    with pytest.raises(KeyError):
        output["logits"] = 1


def test_labels_in_the_place_of_hidden_states_are_named():
    model = filled_model(npconv.TFConvNextForImageClassification, CONFIGS["convnext"])
    with pytest.raises(InputError, match=r"output_hidden_states.*got an array \(2,\); give labels by name"):
        model(pictures(), np.array([0, 1]))
    assert model(pictures(), labels=np.array([0, 1])).loss.shape == (2,)


def test_apply_reaches_every_part():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    met = []
    assert model.apply(met.append) is model
    assert met[-1] is model
    assert len(met) == len(list(model.modules()))


# Another classifier


@ENGINES
@FAMILIES
def test_a_classifier_of_other_classes_can_be_set(family, engine, tmp_path):
    model, x = filled_model(CLASSIFIERS[family], CONFIGS[family], engine=engine), pictures()
    config, width = model.config, model.classifier.in_features
    layer = linear(7, width)
    model.classifier = types.SimpleNamespace(state_dict=lambda: layer)
    assert (model.num_labels, model.classifier.out_features, config.num_labels) == (7, 7, 4)
    logits = model(x).logits
    model.classifier = Identity()
    assert model.num_labels == 0
    features = model(x).logits
    np.testing.assert_allclose(logits, features @ layer["weight"].T + 1, rtol=1e-4, atol=1e-5)  # float32
    assert not hasattr(model, "classifier")
    model.classifier = {"weight": layer["weight"]}
    np.testing.assert_allclose(model(x).logits, logits - 1, rtol=1e-4, atol=1e-5)  # float32
    assert list(model.state_dict())[-2:] == ["classifier.weight", "classifier.bias"]
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, engine=engine)
    np.testing.assert_array_equal(again(x).logits, model(x).logits)


def test_a_classifier_that_fits_no_features_is_refused_and_changes_nothing():
    model, x = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"]), pictures()
    before = model(x).logits
    with pytest.raises(MisfitError, match=r"'classifier.weight' has shape \(7, 3\)"):
        model.classifier = linear(7, 3)
    with pytest.raises(InputError, match="expected for classifier"):
        model.classifier = {"1.weight": linear(7, 3)["weight"]}
    assert model.num_labels == 4
    np.testing.assert_array_equal(model(x).logits, before)
    model.classifier = Identity()
    with pytest.raises(InputError, match="expected a linear layer for classifier, got function"):
        model.classifier = lambda x: x


# Saving


def savers():
    model = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"])
    return {
        "model.safetensors": model,
        "config.json": model.config,
        "preprocessor_config.json": npconv.CvtImageProcessor(),
    }


@pytest.mark.parametrize("name", savers())
def test_saving_takes_the_arguments_of_transformers(name, tmp_path):
    saver = savers()[name]
    saver.save_pretrained(save_directory=tmp_path / "a", push_to_hub=False, safe_serialization=True, token=None)
    assert (tmp_path / "a" / name).is_file()
    saver.save_pretrained(tmp_path / "b", is_main_process=False)
    assert not (tmp_path / "b").exists()
    with pytest.warns(NpconvWarning, match="safetensors are written, not a pickle"):
        saver.save_pretrained(tmp_path / "c", safe_serialization=False)
    assert (tmp_path / "c" / name).is_file()
    for arguments, message in (
        ({"push_to_hub": True}, "hf upload NAME FOLDER"),
        ({"safe_serialisation": True}, "unknown argument 'safe_serialisation'; did you mean 'safe_serialization'"),
        ({"variant": "fp16"}, "unknown argument 'variant'"),
    ):
        with pytest.raises(InputError, match=f"{type(saver).__name__}.save_pretrained: .*{message}"):
            saver.save_pretrained(tmp_path / "d", **arguments)
    with pytest.raises(InputError, match="expected a directory to write to, got None"):
        saver.save_pretrained()
    assert not (tmp_path / "d").exists()


def test_other_numbers_can_be_saved(tmp_path):
    model, x = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"]), pictures()
    state = {name: np.zeros_like(array) for name, array in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=state)
    assert not type(model).from_pretrained(tmp_path)(x).logits.any()
    assert model(x).logits.any()
    with pytest.raises(MisfitError):
        model.save_pretrained(tmp_path, state_dict={"classifier.bias": np.zeros(4, np.float32)})


# Configurations and the Auto classes


def test_a_config_that_is_no_json_is_an_oserror_too(tmp_path):
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "preprocessor_config.json").write_text("{")
    for load in (AutoModel, AutoConfig, npconv.AutoImageProcessor):
        with pytest.raises(OSError, match="JSON") as raised:
            load.from_pretrained(tmp_path)
        assert isinstance(raised.value, ValueError)


def test_auto_classes_are_not_made():
    with pytest.raises(InputError, match="AutoModel only chooses a class: from_pretrained"):
        AutoModel()
    config = AutoConfig.for_model("cvt", num_labels=3)
    assert (type(config), json.loads(config.to_json_string())["model_type"]) == (npconv.CvtConfig, "cvt")
    with pytest.raises(npconv.ConfigError):
        AutoConfig.for_model("vit")
