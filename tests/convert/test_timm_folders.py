"""Folders that timm writes, converted: what their config.json says of the computation gives timm's own logits.

Every architecture of timm, and every pooling, activation, epsilon, norm and stride that a config.json can ask for and
that npconv has. The largest difference is printed at the end (``-s``).
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from support import timm_models

import npconv
from npconv.convert import convert
from npconv.convert.side_files import ACTIVATIONS, NORMS, POOLINGS
from npconv.errors import ConfigError
from npconv.models.convnext.names import TIMM_ARCHITECTURES

pytestmark = pytest.mark.reference

#: The bound of the float64 comparisons: relative to the largest logit. Rounding alone is below 1e-13.
TOLERANCE = 1e-10

TINY = {"depths": [1, 2, 1, 1], "dims": [8, 12, 16, 20], "num_classes": 5}

#: Options of ``create_model``, which timm then writes into ``model_args``.
OPTIONS = {
    **{f"pool {name}": {"global_pool": name} for name in POOLINGS if not name.endswith("catavgmax")},
    **{
        f"pool {name}": {"global_pool": name, "head_norm_first": True, "conv_mlp": True}
        for name in ("catavgmax", "fastcatavgmax", "max", "fastavgmax")
    },
    **{f"act {name}": {"act_layer": name} for name in ACTIVATIONS},
    **{f"norm {name}": {"norm_layer": name} for name in NORMS},
    **{f"eps {eps:g}": {"norm_eps": eps} for eps in (1e-3, 1e-5, 1e-6, 1e-12, 0.0)},
    **{f"stride {stride}": {"output_stride": stride} for stride in (8, 16, 32)},
    **{
        f"stride {stride}, patch {patch}": {"output_stride": stride, "patch_size": patch}
        for stride in (8, 16, 32)
        for patch in (8, 16)
    },
    "all at once": {
        "global_pool": "avgmax",
        "act_layer": "hard_swish",
        "norm_layer": "rmsnorm2d",
        "norm_eps": 1e-2,
        "output_stride": 16,
        "stem_type": "overlap_act",
        "kernel_sizes": [3, 5, 7, 9],
        "conv_mlp": True,
    },
}

#: V2 differs in its block alone: it gets some of them.
OF_V2 = ("pool max", "norm simplenorm", "eps 0.001", "stride 8", "all at once")
CASES = [*(("convnext", name) for name in OPTIONS), *(("convnextv2", name) for name in OF_V2)]

largest = [0.0]


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(7)
    yield torch
    print(f"\nlargest difference from timm, relative to the largest logit: {largest[0]:.1e}")


@pytest.fixture(scope="module")
def timm(torch):
    return timm_models.import_timm()


def written(torch, timm, folder, name, **options):
    """Write a model as timm publishes it, and return the one that timm makes of the folder."""
    from timm.models import save_for_hf

    model = timm_models.randomize(torch, timm.create_model(name, **TINY, **options))
    save_for_hf(model, folder, safe_serialization=True)
    return timm.create_model(f"local-dir:{folder}", pretrained=True).double().eval()


def check(torch, model, folder, out):
    """Convert a folder; compare with the model. Return the conversion."""
    done = convert(folder, out)
    side = 65 if done.config.patch_size in (4, [4, 4]) else 128
    pixels = np.random.default_rng(3).standard_normal((2, done.config.num_channels, side, side + 8))
    with torch.no_grad():
        expected = model(torch.from_numpy(pixels)).numpy()
    found = npconv.AutoModelForImageClassification.from_pretrained(out, dtype="float64")(pixels).logits
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    largest[0] = max(largest[0], difference)
    assert difference <= TOLERANCE
    return done


@pytest.mark.parametrize("name", TIMM_ARCHITECTURES)
def test_every_architecture_by_its_name(torch, timm, tmp_path, name):
    """However narrow it is made: what goes with the name goes with it."""
    model = written(torch, timm, tmp_path / "theirs", name)
    done = check(torch, model, tmp_path / "theirs", tmp_path / "ours")
    assert not [
        decision for decision in done.decisions if decision.level == "warning" and "not known" in decision.reason
    ]
    assert done.name.startswith(f"timm/{name}")


def test_the_architectures_are_all_of_timms(timm):
    assert len(TIMM_ARCHITECTURES) == 31
    assert sorted(timm.list_models(["convnext*", "test_convnext*"])) == sorted(TIMM_ARCHITECTURES)


@pytest.mark.parametrize(("family", "options"), CASES)
def test_every_option_of_a_config_file(torch, timm, tmp_path, family, options):
    model = written(torch, timm, tmp_path / "theirs", f"{family}_tiny", **OPTIONS[options])
    said = json.loads((tmp_path / "theirs" / "config.json").read_text())["model_args"]
    assert said == {**said, **OPTIONS[options]}
    done = check(torch, model, tmp_path / "theirs", tmp_path / "ours")
    assert done.config.model_type == family


def test_options_beside_what_goes_with_a_name(torch, timm, tmp_path):
    model = written(torch, timm, tmp_path / "theirs", "test_convnext3", act_layer="relu", kernel_sizes=3)
    config = check(torch, model, tmp_path / "theirs", tmp_path / "ours").config
    assert (config.norm_eps, config.hidden_act, config.kernel_sizes) == (1e-5, "relu", 3)


@pytest.mark.parametrize("name", ["relu6", "leaky_relu", "elu", "celu", "sigmoid", "tanh", "hard_sigmoid", "hard_mish"])
def test_the_other_activations_of_timm_are_refused_by_name(torch, timm, tmp_path, name):
    written(torch, timm, tmp_path / "theirs", "convnext_atto", act_layer=name)
    with pytest.raises(ConfigError, match=f'act_layer "{name}" is not supported, expected one of'):
        convert(tmp_path / "theirs", tmp_path / "ours")


def test_all_activations_of_timm_are_known_or_refused(timm):
    from timm.layers import create_act

    refused = {"relu6", "leaky_relu", "elu", "prelu", "celu", "sigmoid", "tanh", "hard_mish"}
    refused |= {"hard_sigmoid", "hardsigmoid"}
    assert set(create_act._ACT_LAYER_DEFAULT) == refused | set(ACTIVATIONS)
