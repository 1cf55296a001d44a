"""What npconv saves, transformers loads, and the other way round."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import json

import numpy as np
import parity
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError

import npconv
from weights_tools.goldens import reference

pytestmark = pytest.mark.reference

STAGED, DINO = parity.TINY["convnext"], parity.TINY["dinov3_convnext"]
CVT = {"embed_dim": [6, 8, 8], "num_heads": [2, 4, 1], "depth": [1, 2, 3], "patch_stride": [2, 2, 2]}
LABELS = {"id2label": {0: "cat", 1: "dog", 2: "ship"}, "label2id": {"cat": 0, "dog": 1, "ship": 2}}
MODELS = [
    ("convnext", "model", STAGED),
    ("convnext", "image_classification", {**STAGED, **LABELS, "layer_norm_eps": 0.01}),
    ("convnext", "image_classification", {**STAGED, "layer_scale_init_value": 0.0, "num_labels": 0}),
    ("convnext", "backbone", {**STAGED, "out_features": ["stem", "stage2"]}),
    ("convnextv2", "model", {**STAGED, "hidden_act": "relu"}),
    ("convnextv2", "image_classification", {**STAGED, **LABELS}),
    ("convnextv2", "backbone", {**STAGED, "out_indices": [0, 1]}),
    ("cvt", "model", CVT),
    ("cvt", "image_classification", {**CVT, **LABELS}),
    ("cvt", "image_classification", {**CVT, "qkv_bias": [False, True, False], "cls_token": [False, True, True]}),
    ("dinov3_convnext", "model", DINO),
    ("dinov3_convnext", "backbone", {**DINO, "out_features": ["stem", "stage2"]}),
]
EACH = pytest.mark.parametrize(("family", "task", "fields"), MODELS)
DTYPES = pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])


def same_outputs(ours, theirs, pixel_values):
    """Check that two models in float64 give the same."""
    found = parity.distances(parity.outputs_of(ours, pixel_values), reference.run(theirs, pixel_values))
    assert max(found.values()) <= 1e-10


@EACH
@DTYPES
def test_transformers_loads_what_npconv_saves(tmp_path, family, task, fields, dtype):
    pair = parity.make_pair(family, task, fields, (2, 3, 16, 19))
    type(pair.ours)(pair.ours.config, pair.weights, dtype=dtype).save_pretrained(tmp_path)  # exact in every dtype
    loaded, report = type(pair.theirs).from_pretrained(tmp_path, output_loading_info=True, dtype=torch.float64)
    assert not any(report.values()), report
    same_outputs(pair.ours, loaded.eval(), pair.pixel_values)
    assert loaded.config.architectures == [type(pair.theirs).__name__]
    if task == "image_classification":
        assert loaded.config.id2label == pair.ours.config.id2label
    automatic = transformers.AutoConfig.from_pretrained(tmp_path)
    assert type(automatic) is type(pair.theirs.config)


@EACH
@DTYPES
def test_npconv_loads_what_transformers_saves(tmp_path, family, task, fields, dtype):
    pair = parity.make_pair(family, task, fields, (2, 3, 16, 19))
    pair.theirs.to(getattr(torch, dtype)).save_pretrained(tmp_path)
    loaded = type(pair.ours).from_pretrained(tmp_path, dtype="float64")
    same_outputs(loaded, pair.theirs.double(), pair.pixel_values)
    assert {name: array.shape for name, array in loaded.state_dict().items()} == {
        name: tuple(tensor.shape) for name, tensor in pair.theirs.state_dict().items()
    }
    assert type(pair.ours).from_pretrained(tmp_path, dtype="auto").dtype == dtype


def test_npconv_loads_the_shards_of_transformers_and_back(tmp_path):
    pair = parity.make_pair("convnextv2", "image_classification", {**STAGED, **LABELS}, (1, 3, 16, 19))
    pair.theirs.save_pretrained(tmp_path / "theirs", max_shard_size="3KB")
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 1
    loaded = npconv.ConvNextV2ForImageClassification.from_pretrained(tmp_path / "theirs", dtype="float64")
    same_outputs(loaded, pair.theirs, pair.pixel_values)
    loaded.save_pretrained(tmp_path / "ours", max_shard_size=3000)
    assert len(list((tmp_path / "ours").glob("*.safetensors"))) > 1
    again = transformers.ConvNextV2ForImageClassification.from_pretrained(tmp_path / "ours", dtype=torch.float64)
    same_outputs(loaded, again.eval(), pair.pixel_values)


@pytest.mark.parametrize("family", parity.CLASSIFIERS)
def test_automatic_classes_choose_alike(tmp_path, family):
    pair = parity.make_pair(family, "image_classification", parity.TINY[family], (1, 3, 16, 19))
    pair.theirs.save_pretrained(tmp_path)
    for ours, theirs in (
        (npconv.AutoModelForImageClassification, transformers.AutoModelForImageClassification),
        (npconv.AutoModel, transformers.AutoModel),
    ):
        chosen = type(theirs.from_pretrained(tmp_path))
        assert type(ours.from_pretrained(tmp_path)).__name__ == chosen.__name__
    assert type(npconv.AutoConfig.from_pretrained(tmp_path)).__name__ == type(pair.theirs.config).__name__


OURS_ALONE = {"hidden_act", "image_size"}


@pytest.mark.parametrize("family", parity.FAMILIES)
def test_default_configurations_agree(family):
    ours = parity.CONFIGS[family]().to_dict()
    theirs = reference.config_class(family)().to_dict()
    shared = set(ours) & set(theirs)
    assert set(ours) - shared <= (OURS_ALONE if family == "cvt" else set())
    differing = {name for name in shared if plain(ours[name]) != plain(theirs[name])}
    assert differing == set()


@pytest.mark.parametrize(("family", "seed"), [(family, seed) for family in parity.FAMILIES for seed in range(8)])
def test_configurations_go_back_and_forth(tmp_path, family, seed):
    fields, _ = parity.random_case(family, seed)
    theirs_fields = {name: value for name, value in fields.items() if family != "cvt" or name != "hidden_act"}
    theirs = reference.config_class(family)(**theirs_fields, extra={"kept": [1, 2]})
    theirs.save_pretrained(tmp_path / "theirs")
    ours = parity.CONFIGS[family].from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    again = reference.config_class(family).from_pretrained(tmp_path / "ours")
    for name in [*theirs_fields, "extra", "id2label", "num_labels"]:
        assert plain(getattr(theirs, name)) == plain(getattr(ours, name)) == plain(getattr(again, name)), name


def plain(value):
    """Return a value as JSON has it: lists for tuples, text for the keys of labels."""
    return json.loads(json.dumps(value))


OUTPUT_STAGES = [
    *({"out_features": names} for names in (None, [], ["stem"], ["stage1", "stage4"], ["stage4", "stage1"])),
    *({"out_features": names} for names in (["stage5"], ["stem", "stem"], ("stem",), "stem", ["stage2", "stage3"])),
    *({"out_indices": indices} for indices in (None, [], [0], [1, 4], (1, 4), [-1], [-5, 1], [4, 1], [1, 1])),
    *({"out_indices": indices} for indices in ([5], [-6], [1, -4], [-1, -2], [3, -1])),
    {"out_features": ["stage1"], "out_indices": [1]},
    {"out_features": ["stage4"], "out_indices": [-1]},
    {"out_features": ["stage1"], "out_indices": [2]},
    {"out_features": ["stage1"], "out_indices": [1, 2]},
]


@pytest.mark.parametrize("family", parity.BACKBONES)
@pytest.mark.parametrize("fields", OUTPUT_STAGES)
def test_output_stages_follow_the_rules_of_transformers(family, fields):
    try:
        theirs = reference.config_class(family)(**fields)
    except (ValueError, IndexError, StrictDataclassError):  # it refuses in several ways
        with pytest.raises(npconv.ConfigError):
            parity.CONFIGS[family](**fields)
    else:
        ours = parity.CONFIGS[family](**fields)
        assert (ours.out_features, ours.out_indices) == (theirs.out_features, theirs.out_indices)


@pytest.mark.parametrize("name", [name for name in npconv.layers.ACTIVATIONS if name != "selu"])
def test_activations_by_name(name):
    x = np.linspace(-12, 12, 4801)
    expected = transformers.activations.ACT2FN[name](torch.tensor(x)).numpy()
    assert parity.distance(npconv.layers.ACTIVATIONS[name](x), expected) <= 1e-11
