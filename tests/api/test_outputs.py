import pytest

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
