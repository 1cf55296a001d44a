import json
import threading

import numpy as np
import pytest
from support.builders import (
    BACKBONES,
    BARE_MODELS,
    CLASSIFIERS,
    CONFIGS,
    FAMILIES,
    filled_model,
    filled_state_dict,
    pictures,
)

import npconv
from npconv import ConfigError, InputError, ModelNotFoundError, NpconvWarning, WeightsError
from npconv.files.safetensors import load_file, save_file

CLASS_PAIRS = [
    pytest.param(classes[family], CONFIGS[family], id=classes[family].__name__)
    for classes in (CLASSIFIERS, BARE_MODELS, BACKBONES)
    for family in classes
]


@pytest.mark.parametrize(("model_class", "config"), CLASS_PAIRS)
def test_saved_model_loads_and_gives_the_same_numbers(tmp_path, model_class, config):
    model = filled_model(model_class, config)
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    assert loaded.loading_report.missing == ()
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for ours, theirs in zip(loaded(pictures()).values(), model(pictures()).values(), strict=True):
        np.testing.assert_array_equal(np.asarray(ours[0]), np.asarray(theirs[0]))


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_config_names_the_class_and_keeps_every_field(tmp_path, family):
    filled_model(CLASSIFIERS[family], CONFIGS[family], dtype="float16").save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    assert fields["architectures"] == [CLASSIFIERS[family].__name__]
    assert fields["dtype"] == "float16"
    assert fields["model_type"] == family
    assert {name: fields[name] for name in ("id2label", "num_channels")} == {
        "id2label": {str(index): f"LABEL_{index}" for index in range(4)},
        "num_channels": 3,
    }


def test_sharded_model_loads(tmp_path):
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    model.save_pretrained(tmp_path, max_shard_size=4000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    loaded = npconv.AutoModelForImageClassification.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded(pictures()).logits, model(pictures()).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_file_of_a_classifier_loads_into_the_bare_model(tmp_path, family):
    classifier = filled_model(CLASSIFIERS[family], CONFIGS[family])
    classifier.save_pretrained(tmp_path)
    bare = npconv.AutoModel.from_pretrained(tmp_path)
    expected = classifier(pictures(), output_hidden_states=True).hidden_states[-1]
    np.testing.assert_array_equal(bare(pictures()).last_hidden_state, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_file_of_a_bare_model_loads_into_the_classifier_only_if_asked(tmp_path, family):
    filled_model(BARE_MODELS[family], CONFIGS[family]).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"classifier.*strict=False"):
        CLASSIFIERS[family].from_pretrained(tmp_path)
    with pytest.warns(NpconvWarning, match="never trained.*classifier"):
        loaded = CLASSIFIERS[family].from_pretrained(tmp_path, strict=False)
    assert {"classifier.weight", "classifier.bias"} <= set(loaded.loading_report.missing)
    assert loaded(pictures()).logits.shape == (2, 4)


@pytest.mark.parametrize("family", list(BACKBONES))
def test_backbone_of_a_classifier_says_that_its_norms_were_never_trained(tmp_path, family):
    classifier = filled_model(CLASSIFIERS[family], CONFIGS[family])
    classifier.save_pretrained(tmp_path)
    with pytest.warns(NpconvWarning, match="never trained.*hidden_states_norms.stage1.weight"):
        backbone = npconv.AutoBackbone.from_pretrained(tmp_path, out_features=["stage1", "stage3"], dtype="float64")
    assert backbone.channels == [6, 14]
    assert backbone.out_indices == [1, 3]
    assert backbone.num_features == [6, 6, 10, 14]
    stage3 = backbone(pictures()).feature_maps[1]
    np.testing.assert_allclose(stage3.mean(axis=1), 0, atol=1e-10)  # LayerNorm with weight 1 and bias 0


@pytest.mark.parametrize("family", ["convnextv2"])
def test_old_grn_names_load(family):
    state = filled_state_dict(CLASSIFIERS[family], CONFIGS[family])
    old = {n.replace("grn.weight", "grn.gamma").replace("grn.bias", "grn.beta"): v for n, v in state.items()}
    assert old.keys() != state.keys()
    ours = CLASSIFIERS[family](CONFIGS[family], old)(pictures()).logits
    np.testing.assert_array_equal(ours, CLASSIFIERS[family](CONFIGS[family], state)(pictures()).logits)


def test_unexpected_and_missing_and_misshapen_parameters_are_named(tmp_path):
    config = CONFIGS["convnext"]
    state = filled_state_dict(npconv.ConvNextModel, config)
    with pytest.raises(WeightsError, match=r"layernorm\.weight"):
        npconv.ConvNextModel(config, {name: v for name, v in state.items() if name != "layernorm.weight"})
    with pytest.raises(WeightsError, match="surplus"):
        npconv.ConvNextModel(config, {**state, "surplus": np.zeros(3, np.float32)})
    with pytest.raises(WeightsError, match=r"layernorm\.weight.*\(3,\).*\(14,\)"):
        npconv.ConvNextModel(config, {**state, "layernorm.weight": np.zeros(3, np.float32)})


def test_not_strict_leaves_out_what_is_too_much(tmp_path):
    config = CONFIGS["convnext"]
    model = filled_model(npconv.ConvNextModel, config)
    model.save_pretrained(tmp_path)
    save_file({**load_file(tmp_path / "model.safetensors"), "surplus": np.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="surplus"):
        npconv.ConvNextModel.from_pretrained(tmp_path)
    with pytest.warns(NpconvWarning, match="left out: surplus"):
        loaded = npconv.ConvNextModel.from_pretrained(tmp_path, strict=False)
    np.testing.assert_array_equal(loaded(pictures()).pooler_output, model(pictures()).pooler_output)


def test_a_misshapen_parameter_is_an_error_even_if_not_strict(tmp_path):
    filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"]).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"classifier\.weight"):
        npconv.CvtForImageClassification.from_pretrained(tmp_path, strict=False, num_labels=9)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("family", FAMILIES)
def test_dtype_of_the_model_is_the_dtype_of_every_output(family, dtype):
    model = filled_model(CLASSIFIERS[family], CONFIGS[family], dtype=dtype)
    outputs = model(pictures(), labels=[0, 3], output_hidden_states=True)
    assert {a.dtype.name for a in (outputs.loss, outputs.logits, *outputs.hidden_states)} == {dtype}


@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
def test_dtype_auto_is_that_of_the_file(tmp_path, stored):
    filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"], dtype=stored).save_pretrained(tmp_path)
    assert npconv.CvtForImageClassification.from_pretrained(tmp_path, dtype="auto").dtype == stored
    assert npconv.CvtForImageClassification.from_pretrained(tmp_path).dtype == "float32"
    assert npconv.CvtForImageClassification.from_pretrained(tmp_path, dtype="auto", engine="fast").dtype == "float32"


def test_parameters_are_copies_that_may_be_written_to(tmp_path):
    state = filled_state_dict(npconv.ConvNextModel, CONFIGS["convnext"])
    before = state["layernorm.bias"].copy()
    model = npconv.ConvNextModel(CONFIGS["convnext"], state)
    model.params["layernorm"]["bias"] += 1
    np.testing.assert_array_equal(state["layernorm.bias"], before)


def test_the_seed_decides_the_random_parameters():
    def first_weight(seed):
        return npconv.CvtModel(CONFIGS["cvt"], seed=seed).state_dict()[
            "encoder.stages.0.embedding.convolution_embeddings.projection.weight"
        ]

    np.testing.assert_array_equal(first_weight(5), first_weight(5))
    assert np.abs(first_weight(5) - first_weight(6)).max() > 1e-3


def test_random_parameters_have_the_spread_that_the_configuration_says():
    config = npconv.ConvNextConfig(hidden_sizes=[64], depths=[1], num_stages=1, initializer_range=0.5)
    weight = npconv.ConvNextModel(config).params["encoder"]["stages"][0]["layers"][0]["pwconv1"]["weight"]
    # 16,384 draws: the standard error of the standard deviation is 0.5 / sqrt(2 * 16384) = 0.0028; five of them.
    assert abs(weight.std() - 0.5) < 0.014


def test_number_of_parameters_leaves_statistics_out():
    model = npconv.CvtModel(CONFIGS["cvt"])
    stored = sum(array.size for name, array in model.state_dict().items())
    statistics = sum(a.size for n, a in model.state_dict().items() if "running" in n or "num_batches" in n)
    assert statistics > 0
    assert model.num_parameters() == stored - statistics


def test_arguments_that_are_unknown_are_refused():
    config = CONFIGS["convnext"]
    with pytest.raises(InputError, match="got <class 'int'>"):
        npconv.ConvNextModel(config, dtype=int)
    with pytest.raises(InputError, match="engine"):
        npconv.ConvNextModel(config, engine="warp")
    for options in ({"dtype": "float64"}, {"device": "cuda"}):
        with pytest.raises(InputError, match=r"float32 on the CPU.*engine='explicit'"):
            npconv.ConvNextModel(config, engine="fast", **options)
    with pytest.raises(InputError, match="'cpu', 'cuda' or the number of a GPU, got 'gpu'"):
        npconv.ConvNextModel(config, device="gpu")
    with pytest.raises(ConfigError, match="expected a ConvNextConfig, got a CvtConfig"):
        npconv.ConvNextModel(CONFIGS["cvt"])


def test_repr_tells_what_the_model_is():
    assert repr(npconv.CvtModel(CONFIGS["cvt"])).startswith("CvtModel(")
    assert "dtype=float32, device='cpu', engine='explicit'" in repr(npconv.CvtModel(CONFIGS["cvt"]))


def test_keywords_are_fields_or_refused(tmp_path):
    CLASSIFIERS["cvt"](CONFIGS["cvt"]).save_pretrained(tmp_path)
    load = npconv.AutoModelForImageClassification.from_pretrained
    assert load(tmp_path, torch_dtype="float16").dtype == np.float16
    loaded = load(tmp_path, trust_remote_code=True, use_safetensors=True, output_hidden_states=True)
    assert loaded.config.output_hidden_states
    assert "trust_remote_code" not in loaded.config.to_dict()
    with pytest.raises(InputError, match=r"unknown argument 'drop_path_rates'; .* did you mean 'drop_path_rate'"):
        load(tmp_path, drop_path_rates=[0, 0, 0])
    with pytest.raises(InputError, match=r"unknown argument 'engin'; .* did you mean 'engine'"):
        load(tmp_path, engin="fast")
    with pytest.raises(InputError, match="expected a config or its fields, got both: output_hidden_states"):
        load(tmp_path, config=CONFIGS["cvt"], output_hidden_states=True)


def test_saved_dtype_is_that_of_the_saved_arrays(tmp_path):
    filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"], dtype="float16").save_pretrained(tmp_path / "half")
    fast = CLASSIFIERS["convnext"].from_pretrained(tmp_path / "half", engine="fast")
    fast.config.other_fields["torch_dtype"] = "float32"
    fast.save_pretrained(tmp_path / "again")
    fields = json.loads((tmp_path / "again" / "config.json").read_text())
    assert fields["dtype"] == "float16"
    assert "torch_dtype" not in fields


def test_what_cannot_be_a_model_is_refused(tmp_path):
    for model in (None, 3):
        with pytest.raises(ModelNotFoundError, match="expected a model's name or path"):
            npconv.AutoModel.from_pretrained(model)
    state = filled_state_dict(npconv.ConvNextModel, CONFIGS["convnext"])
    with pytest.raises(InputError, match="expected a NumPy or CuPy array, got memoryview"):
        npconv.ConvNextModel(CONFIGS["convnext"], {**state, "layernorm.bias": memoryview(state["layernorm.bias"])})
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"config\.json cannot be written"):
        npconv.ConvNextModel(CONFIGS["convnext"]).save_pretrained(tmp_path / "file")


def test_eval_is_the_model_itself():
    model = npconv.CvtModel(CONFIGS["cvt"])
    assert model.eval() is model


def test_parameters_must_be_floating_point_numbers():
    state = filled_state_dict(npconv.CvtModel, CONFIGS["cvt"])
    name = "encoder.stages.0.embedding.convolution_embeddings.normalization.bias"
    for dtype in ("int64", "bool", "complex64"):
        with pytest.raises(WeightsError, match=rf"floating-point numbers for {name}, got {dtype}"):
            npconv.CvtModel(CONFIGS["cvt"], {**state, name: state[name].astype(dtype)})


def test_seeds_that_are_none_are_refused():
    for seed in (-1, "a", 1.5, True):
        with pytest.raises(InputError, match="expected seed to be a whole number"):
            npconv.CvtModel(CONFIGS["cvt"], seed=seed)


def test_a_save_that_fails_leaves_the_earlier_model(tmp_path, monkeypatch):
    """Also its configuration: half of the one and half of the other would be a third model."""
    first = npconv.ConvNextModel(CONFIGS["convnext"])
    first.save_pretrained(tmp_path / "m", max_shard_size=4000)
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}

    def refuse(*_, **__):
        raise WeightsError("the disk is full")

    monkeypatch.setattr("npconv.api.base.save_checkpoint", refuse)
    with pytest.raises(WeightsError, match="the disk is full"):
        npconv.CvtModel(CONFIGS["cvt"]).save_pretrained(tmp_path / "m")
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before
    monkeypatch.undo()
    npconv.CvtModel(CONFIGS["cvt"]).save_pretrained(tmp_path / "m")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["config.json", "model.safetensors"]


def test_two_saves_to_one_folder_are_not_mixed(tmp_path):
    """The second waits; whoever comes last, all files are of one model."""
    saved = [(npconv.ConvNextModel, CONFIGS["convnext"]), (npconv.CvtModel, CONFIGS["cvt"])] * 3
    threads = [threading.Thread(target=kind(config).save_pretrained, args=(tmp_path / "m",)) for kind, config in saved]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    npconv.AutoModel.from_pretrained(tmp_path / "m")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.json", "m", "model.safetensors"]
