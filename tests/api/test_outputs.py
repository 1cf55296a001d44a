import pytest
from support.builders import pictures

import npconv
from npconv.api import outputs
from npconv.api.outputs import ImageClassifierOutputWithNoAttention


def test_attributes_keys_and_places_are_the_same():
    output = ImageClassifierOutputWithNoAttention(loss=None, logits="z", hidden_states=("a", "b"))
    assert output.logits == output["logits"] == output[0] == "z"
    assert output[1] == output["hidden_states"] == ("a", "b")
    assert output[-1] == ("a", "b")
    assert output[:2] == output.to_tuple() == ("z", ("a", "b"))
    assert list(output) == list(output.keys()) == ["logits", "hidden_states"]
    assert dict(output.items()) == {"logits": "z", "hidden_states": ("a", "b")}
    assert list(output.values()) == ["z", ("a", "b")]
    assert len(output) == 2
    assert "logits" in output
    assert "loss" not in output
    assert output.get("loss", "none") == "none"


def test_what_is_not_set_is_not_there():
    with pytest.raises(KeyError):
        ImageClassifierOutputWithNoAttention(logits="z")["loss"]
    with pytest.raises(IndexError):
        ImageClassifierOutputWithNoAttention(logits="z")[1]


def test_the_module_has_its_name_in_transformers():
    for name in npconv.modeling_outputs.__all__:
        assert getattr(npconv.modeling_outputs, name) is getattr(outputs, name)
    every = {name for name, value in vars(outputs).items() if isinstance(value, type) and "Output" in name}
    assert every == set(npconv.modeling_outputs.__all__)


@pytest.mark.parametrize("model_class", [npconv.ConvNextBackbone, npconv.DINOv3ConvNextBackbone])
def test_a_backbone_has_no_attentions(model_class):
    output = model_class(model_class.config_class(hidden_sizes=[4, 6, 6, 6], depths=[1, 1, 1, 1]))(pictures(1, 32, 32))
    assert output.attentions is None
    assert list(output) == ["feature_maps"]
