"""The small files beside weights: each key is used, checked, without effect or refused; an unknown one is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.conversion_files import refusal, run

import npconv
from npconv.convert import convert, dialects, side_files, translate
from npconv.convert.side_files import CHECKED, IDLE, REFUSED, USED
from npconv.errors import ConfigError
from npconv.files import safetensors
from npconv.models import find_family
from npconv.models.naming import lines

FIELDS = {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 2, 1], "num_labels": 3}

#: As timm 1.0 writes it for one of its published models.
TIMM = {
    "architecture": "convnext_tiny",
    "num_classes": 3,
    "num_features": 10,
    "global_pool": "avg",
    "pretrained_cfg": {
        "tag": "in12k_ft_in1k",
        "custom_load": False,
        "input_size": [3, 224, 224],
        "test_input_size": [3, 288, 288],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "test_crop_pct": 1.0,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "num_classes": 3,
        "pool_size": [7, 7],
        "first_conv": "stem.0",
        "classifier": "head.fc",
        "license": "apache-2.0",
    },
}

#: As open_clip writes it: ``laion/CLIP-convnext_base_w-laion2B-s13B-b82K`` and others of the kind.
OPEN_CLIP = {
    "model_cfg": {
        "embed_dim": 3,
        "vision_cfg": {
            "timm_model_name": "convnext_base",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "timm_drop": 0.0,
            "timm_drop_path": 0.1,
            "image_size": 256,
        },
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 640, "heads": 10, "layers": 12},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.25], "std": [0.25, 0.5, 0.5]},
}


def tensors(dialect, model_type="convnext", **fields):
    """Return random parameters in the names of another library."""
    config = find_family(model_type).config_class(**{**FIELDS, **fields})
    shapes = find_family(model_type).part("model").image_classification_shapes(config)
    rng = np.random.default_rng(1)
    ours = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    return translate.from_hugging_face(ours, dialects.dialect(dialect, ours))


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes a folder of timm with some changes to its config.json, and converts it."""

    def make(changes=None, weights=None, name="config.json", content=None, **options):
        (tmp_path / "theirs").mkdir(exist_ok=True)
        (tmp_path / "theirs" / name).write_text(json.dumps({**TIMM, **(changes or {})} if content is None else content))
        weights = tensors("timm") if weights is None else weights
        safetensors.save_file(weights, tmp_path / "theirs" / "model.safetensors")
        return convert(tmp_path / "theirs", tmp_path / "ours", force=True, **options)

    return make


def warnings_of(done):
    return [str(decision) for decision in done.decisions if decision.level == "warning"]


def test_a_published_file_has_no_key_that_is_not_known(folder):
    done = folder()
    assert [line for line in warnings_of(done) if "not known" in line] == []
    assert (done.config.norm_eps, done.config.layer_norm_eps, done.config.pooling) == (1e-6, 1e-6, "avg")
    assert "unless told otherwise" not in " ".join(lines(done.decisions))
    assert done.name == "timm/convnext_tiny.in12k_ft_in1k"


@pytest.mark.parametrize("place", [{}, {"model_args": {"global_pool": "avgmax"}}])
def test_the_pooling_of_the_saved_model_is_taken(folder, place):
    assert folder({"global_pool": "avgmax", **place}).config.pooling == "avgmax"


def test_two_poolings_in_one_file_are_refused(folder):
    with pytest.raises(ConfigError, match=r'says global_pool "max", and in model_args another one; .*--set pooling='):
        folder({"global_pool": "max", "model_args": {"global_pool": "avgmax"}})


ARGUMENTS = {
    "act_layer": ("silu", {"hidden_act": "silu"}),
    "norm_eps": (1e-3, {"norm_eps": 1e-3, "layer_norm_eps": 1e-3}),
    "output_stride": (16, {"output_stride": 16}),
    "global_pool": ("fastmax", {"pooling": "max"}),
    "drop_path_rate": (0.25, {"drop_path_rate": 0.25}),
    "norm_layer": ("layernorm2d", {"norm_type": "layer_norm"}),
    "head_init_scale": (0.1, {}),
    "ls_init_value": (None, {}),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_of_the_model_is_used(folder, name):
    value, expected = ARGUMENTS[name]
    done = folder({"model_args": {name: value}, "global_pool": None})
    assert {field: getattr(done.config, field) for field in expected} == expected
    assert npconv.AutoConfig.from_pretrained(done.directory) == done.config
    told = {field: value for field, value in expected.items() if field in ("hidden_act", "pooling", "output_stride")}
    assert all("says so" in line for line in lines(done.decisions) if line.startswith(tuple(told) or ("nothing",)))


def test_the_caller_says_more_than_the_file(folder):
    done = folder({"model_args": {"norm_eps": 1e-3, "act_layer": "silu"}}, norm_eps=1e-4, hidden_act="relu")
    assert (done.config.norm_eps, done.config.layer_norm_eps, done.config.hidden_act) == (1e-4, 1e-4, "relu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_args": {"act_layer": "elu"}}, r'act_layer "elu" is not supported, expected one of gelu, '),
        ({"model_args": {"norm_layer": "batchnorm2d"}}, 'norm_layer "batchnorm2d" is not supported'),
        ({"model_args": {"global_pool": ""}}, 'global_pool "" is not supported, expected one of avg'),
        ({"model_args": {"global_pool": ["avg"]}}, "global_pool"),
        ({"global_pool": ""}, 'global_pool "" is not supported'),
        ({"model_args": {"global_pool": "catavgmax"}, "global_pool": None}, "head_norm_first"),
        ({"model_args": {"output_stride": 4}}, "output_stride to be one of 8, 16, 32"),
        ({"model_args": {"norm_eps": "small"}}, "norm_eps"),
        ({"model_args": {"conv_bias": False}}, "conv_bias false is not supported"),
        ({"model_args": {"features_only": True}}, "features_only true is not supported"),
        ({"model_args": {"act_layr": "silu"}}, "'act_layr' is no option that is known.*did you mean act_layer"),
        ({"model_args": {"depths": [1, 1, 1, 1]}}, "contradicts the shapes of the tensors: depths"),
        ({"model_args": {"dims": [4, 6, 8, 12]}}, "contradicts the shapes of the tensors: hidden_sizes"),
        ({"model_args": {"kernel_sizes": 5}}, "dwconv.weight would be"),
        ({"model_args": {"stem_type": "overlap"}}, "overlap_embeddings"),
        ({"model_args": {"in_chans": 4}}, "contradicts the shapes of the tensors: num_channels"),
        ({"model_args": {"norm_layer": "rmsnorm"}}, "contradicts the shapes of the tensors: norm_type"),
        ({"model_args": {"use_grn": True}}, "says use_grn true, but the tensors say false"),
        ({"model_args": [1]}, "expected model_args in timm's config.json to be a JSON object"),
        ({"num_classes": 5}, "says classes 5, but the tensors say 3"),
        ({"num_features": 12}, "says num_features 12, but the tensors say 10"),
        ({"pretrained_cfg": {**TIMM["pretrained_cfg"], "label_offset": 1}}, "label_offset 1 is not supported"),
        ({"pretrained_cfg": {**TIMM["pretrained_cfg"], "input_size": [1, 224, 224]}}, "num_channels 1"),
        ({"label_names": ["a", "b"]}, r'names of 3 classes in timm\'s config.json, .*got \["a", "b"\]; --labels takes'),
        ({"label_names": {"0": "a", "7": "b"}}, "names of 3 classes"),
    ],
)
def test_what_the_models_lack_or_the_tensors_contradict_is_refused(capsys, tmp_path, folder, changes, message):
    with pytest.raises(ConfigError, match=message):
        folder(changes)
    refusal(capsys, "convert", tmp_path / "theirs", tmp_path / "o")
    assert not (tmp_path / "ours").exists()


def test_the_advice_of_a_refusal_works(folder, tmp_path):
    with pytest.raises(ConfigError, match="give the path of the weights to convert without the file"):
        folder({"model_args": {"act_layer": "elu"}})
    done = convert(tmp_path / "theirs" / "model.safetensors", tmp_path / "o")
    assert "config.json beside the file is not used: give the folder for that" in lines(done.decisions)


def test_keys_that_are_not_known_are_named(folder):
    pretrained = {**TIMM["pretrained_cfg"], "sharpness": 2}
    assert warnings_of(folder({"colour": 1, "shade": 2, "pretrained_cfg": pretrained})) == [
        "timm's config.json has keys that are not known, and without effect: 'colour', 'shade'",
        "timm's config.json, pretrained_cfg has keys that are not known, and without effect: 'sharpness'",
    ]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["cat", "dog", "emu"], ["cat", "dog", "emu"]),
        ({"0": "cat", "2": "emu"}, ["cat", "LABEL_1", "emu"]),
        (["cat", "cat", "emu"], ["cat", "cat", "emu"]),
    ],
)
@pytest.mark.parametrize("place", ["label_names", "labels", "pretrained_cfg"])
def test_names_of_classes(folder, labels, expected, place):
    changes = {place: labels, "label_descriptions": {"cat": "a small tiger"}}
    if place == "pretrained_cfg":
        changes = {"pretrained_cfg": {**TIMM["pretrained_cfg"], "label_names": labels}}
    done = folder(changes)
    assert list(done.config.id2label.values()) == expected
    assert "labels: 3 names, from timm's config.json" in lines(done.decisions)
    assert list(folder(changes, labels=["x", "y", "z"]).config.id2label.values()) == ["x", "y", "z"]


def test_the_name_of_an_architecture_goes_before_its_shapes(folder):
    """An xxlarge of any width has its epsilon, and a tiny with the shapes of a test model has not its."""
    shapes = {"hidden_sizes": [24, 32, 48, 64], "depths": [1, 2, 4, 2]}
    weights = tensors("timm", **shapes)
    said = {
        name: folder({"architecture": name, "num_features": 64}, weights).config
        for name in ("convnext_xxlarge", "convnext_tiny", "convnext_tiny_in22ft1k", "test_convnext")
    }
    assert [config.norm_eps for config in said.values()] == [1e-5, 1e-6, 1e-6, 1e-5]
    assert [config.layer_norm_eps for config in said.values()] == [1e-5, 1e-6, 1e-6, 1e-5]
    assert [config.hidden_act for config in said.values()] == ["gelu", "gelu", "gelu", "gelu_pytorch_tanh"]


def test_null_is_not_the_epsilon_of_the_name(folder):
    done = folder({"architecture": "convnext_xxlarge", "model_args": {"norm_eps": None}})
    assert (done.config.norm_eps, done.config.layer_norm_eps) == (1e-6, 1e-6)


def test_the_norm_of_the_arguments_goes_before_that_of_the_name(folder):
    done = folder({"architecture": "convnext_atto_rms", "model_args": {"norm_layer": "layernorm"}})
    assert done.config.norm_type == "layer_norm"


def test_an_architecture_that_is_not_known_is_named(folder):
    said = warnings_of(folder({"architecture": "convnext_nix"}))
    assert any(
        "an architecture that is not known, 'convnext_nix'" in line and "--set norm_eps=" in line for line in said
    )


@pytest.mark.parametrize(("name", "kind"), [("convnext_zepto_rms", "simple_norm"), ("convnext_atto_rms", "rms_norm")])
def test_norms_of_an_architecture(folder, name, kind):
    assert folder({"architecture": name}, tensors("timm", norm_type=kind)).config.norm_type == kind
    told = {"architecture": "convnext_tiny", "model_args": {"norm_layer": "rmsnorm2d"}}
    assert folder(told, tensors("timm", norm_type=kind)).config.norm_type == "rms_norm"


def test_the_first_form_of_the_file(folder):
    """As timm wrote it in 2022: all in one object."""
    content = {**TIMM["pretrained_cfg"], "architecture": "convnext_xxlarge", "num_classes": 3, "num_features": 10}
    content = {**content, "labels": ["a", "b", "c"], "hf_hub_id": "timm/x", "input_size": [3, 288, 288]}
    done = folder(content=content)
    assert (done.config.norm_eps, done.config.id2label[2], done.config.image_size) == (1e-5, "c", 288)
    processor = npconv.AutoImageProcessor.from_pretrained(done.directory)
    assert (processor.size, processor.crop_pct) == ({"shortest_edge": 288}, 0.95)


def test_the_wrapper_of_transformers_for_timm(folder):
    content = {**TIMM, "model_type": "timm_wrapper", "architectures": ["TimmWrapperForImageClassification"]}
    content |= {"label_names": ["a", "b", "c"], "do_pooling": True, "model_args": {"act_layer": "relu"}}
    done = folder(content=content, weights={f"timm_model.{name}": value for name, value in tensors("timm").items()})
    assert (done.config.hidden_act, done.config.id2label[0]) == ("relu", "a")
    assert [line for line in warnings_of(done) if "not known" in line] == []


@pytest.mark.parametrize(("kind", "is_warning"), [("TimmWrapperImageProcessor", False), ("CLIPImageProcessor", True)])
def test_settings_of_another_processor_go_behind_timms_file(folder, tmp_path, kind, is_warning):
    """transformers writes that of its wrapper beside config.json, and reads config.json itself."""
    folder()
    kind = {"image_processor_type": kind, "pretrained_cfg": {}, "data_config": {}}
    (tmp_path / "theirs" / "preprocessor_config.json").write_text(json.dumps(kind))
    done = folder({"model_type": "timm_wrapper"})
    assert any("which npconv lacks" in line for line in warnings_of(done)) == is_warning
    processor = npconv.AutoImageProcessor.from_pretrained(done.directory)
    assert (processor.crop_pct, processor.crop_rounding) == (TIMM["pretrained_cfg"]["crop_pct"], "half_even")


def test_names_of_classes_that_the_wrapper_alone_says(folder):
    content = {name: value for name, value in TIMM.items() if name != "label_names"}
    content |= {"model_type": "timm_wrapper", "id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0}}
    done = folder(content=content)
    assert list(done.config.id2label.values()) == ["a", "b", "c"]
    assert [line for line in warnings_of(done) if "not known" in line] == []


@pytest.mark.parametrize("name", ["model.safetensors", "open_clip_model.safetensors"])
@pytest.mark.parametrize("beside", [None, TIMM])
def test_open_clip_says_size_colours_and_computation(tmp_path, name, beside):
    weights = tensors("open_clip")
    weights = {
        key: np.zeros_like(value) if key.endswith("classifier.bias") else value for key, value in weights.items()
    }
    (tmp_path / "theirs").mkdir()
    content = json.loads(json.dumps(OPEN_CLIP))
    content["model_cfg"]["vision_cfg"] |= {"timm_model_name": "convnext_xxlarge", "timm_pool": "max"}
    (tmp_path / "theirs" / "open_clip_config.json").write_text(json.dumps(content))
    if beside:
        (tmp_path / "theirs" / "config.json").write_text(json.dumps(beside))
    safetensors.save_file(weights, tmp_path / "theirs" / name)
    done = convert(tmp_path / "theirs", tmp_path / "ours")
    config = done.config
    assert (config.image_size, config.norm_eps, config.pooling, config.drop_path_rate) == (256, 1e-5, "max", 0.1)
    processor = npconv.AutoImageProcessor.from_pretrained(tmp_path / "ours")
    assert (processor.size, processor.crop_pct, processor.image_mean) == ({"shortest_edge": 256}, 1.0, (0.5, 0.5, 0.25))
    assert [line for line in warnings_of(done) if "not known" in line] == []


@pytest.mark.parametrize(
    ("place", "changes", "message"),
    [
        (["model_cfg", "vision_cfg"], {"timm_pool": "abs_attn"}, 'timm_pool "abs_attn" is not supported'),
        (["model_cfg", "vision_cfg"], {"timm_output_stride": 8}, "'timm_output_stride' is no option that is known"),
        (["model_cfg"], {"embed_dim": 4}, "says classes 4, but the tensors say 3"),
        (["model_cfg"], {"vision_cfg": 3}, "vision_cfg in open_clip_config.json, model_cfg to be a JSON object"),
        (["preprocess_cfg"], {"resize_mode": "longest"}, 'resize_mode "longest" is not supported'),
        (["preprocess_cfg"], {"mode": "L"}, 'mode "L" is not supported'),
        (["preprocess_cfg"], {"sharpen": True}, "'sharpen' is no option"),
    ],
)
def test_what_open_clip_says_and_the_models_lack(folder, place, changes, message):
    content = json.loads(json.dumps(OPEN_CLIP))
    part = content
    for name in place:
        part = part[name]
    part |= changes
    with pytest.raises(ConfigError, match=message):
        folder(content=content, name="open_clip_config.json", weights=tensors("open_clip"))


def test_an_unknown_key_of_transformers_is_named_and_kept(folder):
    config = find_family("convnext").config_class(**FIELDS)
    content = {**config.to_dict(), "torchscript": False, "auto_map": {"AutoModel": "x.Y"}, "shade": 3}
    done = folder(content=content, weights=tensors("huggingface"))
    assert warnings_of(done) == ["config.json of a convnext has keys that are not known, and without effect: 'shade'"]
    assert done.config.shade == 3
    with pytest.raises(ConfigError, match=r"quantization_config .* is not supported"):
        folder(content={**content, "quantization_config": {"bits": 8}}, weights=tensors("huggingface"))


def test_every_field_of_ours_that_another_library_sets_is_one():
    fields = {name for family in ("convnext", "convnextv2") for name in find_family(family).config_class.field_names()}
    for part in (side_files.TIMM, side_files.TIMM_ARGUMENTS, side_files.OPEN_CLIP_VISION):
        assert {key.sets for key in part.keys.values()} - {""} <= fields
    assert {key.fate for part in side_files.parts() for key in part.keys.values()} == {USED, CHECKED, IDLE, REFUSED}


def test_the_command_line_says_what_was_taken(capsys, tmp_path, folder):
    folder({"model_args": {"norm_eps": 1e-3}, "label_names": ["a", "b", "c"]})
    status, said, _ = run(capsys, "convert", tmp_path / "theirs", tmp_path / "o")
    assert status == 0
    assert "norm_eps 0.001: timm's config.json says so" in said
    assert "labels: 3 names, from timm's config.json" in said
