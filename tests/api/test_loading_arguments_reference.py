"""Every argument that transformers looks for when it loads something is known here, or refused by name."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from support.builders import CLASSIFIERS, CONFIGS, filled_model

import npconv
from npconv.files.loading_arguments import OLDER_NAMES, QUANTISING, WITHOUT_EFFECT, Origin

transformers = pytest.importorskip("transformers", reason="it is what is compared with")

pytestmark = pytest.mark.reference

#: They would load other weights or files than those that the model has.
REFUSED = {"gguf_file", "key_mapping", "state_dict", "image_processor_filename", "_configuration_file"}

SOURCES = [
    transformers.PreTrainedModel.from_pretrained,
    transformers.AutoModel.from_pretrained,
    transformers.AutoConfig.from_pretrained,
    transformers.AutoImageProcessor.from_pretrained,
    transformers.PretrainedConfig._get_config_dict,
    transformers.image_processing_base.ImageProcessingMixin.get_image_processor_dict,
]


@pytest.mark.parametrize("function", SOURCES, ids=lambda function: function.__qualname__)
def test_every_argument_of_transformers_is_known(function):
    source = inspect.getsource(function)
    asked = set(re.findall(r"""kwargs\.(?:pop|get)\(\s*["'](\w+)["']""", source))
    asked |= {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty
    }
    own = {"config", "dtype", "ignore_mismatched_sizes", "output_loading_info", "device_map", "return_unused_kwargs"}
    known = {*Origin._fields, *OLDER_NAMES, *QUANTISING, *WITHOUT_EFFECT, *own}
    assert asked - known - REFUSED == set()


def test_a_variant_in_pieces_that_transformers_wrote(tmp_path):
    """Names of shards and of their index are those of transformers."""
    filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"]).save_pretrained(tmp_path / "ours")
    theirs = transformers.ConvNextForImageClassification.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs", variant="fp16", max_shard_size="4KB")
    theirs.save_pretrained(tmp_path / "whole", variant="fp16")
    assert not (tmp_path / "theirs" / "model.safetensors").exists()
    for name in ("theirs", "whole"):
        back = npconv.AutoModelForImageClassification.from_pretrained(tmp_path / name, variant="fp16")
        for parameter, value in theirs.state_dict().items():
            np.testing.assert_array_equal(back.state_dict()[parameter], value.numpy())


def test_what_is_new_and_what_is_told_of_it_is_as_there(tmp_path):
    filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"]).save_pretrained(tmp_path)
    given = {"id2label": {0: "a", 1: "b"}, "ignore_mismatched_sizes": True, "output_loading_info": True}
    theirs, told = transformers.ConvNextForImageClassification.from_pretrained(tmp_path, **given)
    with pytest.warns(npconv.NpconvWarning, match="another shape"):
        ours, said = npconv.ConvNextForImageClassification.from_pretrained(tmp_path, **given)
    assert ours.config.num_labels == theirs.config.num_labels == 2
    assert said.keys() == told.keys()
    for name in ("missing_keys", "unexpected_keys"):
        assert said[name] == set(told[name])
    assert said["mismatched_keys"] == {(name, tuple(a), tuple(b)) for name, a, b in told["mismatched_keys"]}
    for name, value in theirs.state_dict().items():
        if not name.startswith("classifier"):
            np.testing.assert_array_equal(ours.state_dict()[name], value.numpy())
