import numpy as np
import pytest

from npconv.errors import WeightsError
from npconv.models.parameters import LoadReport, match

PREFIX = "convnextv2."
BARE = {
    "embeddings.weight": (3, 4),
    "encoder.stages.0.layers.0.grn.weight": (1, 1, 1, 8),
    "encoder.stages.0.layers.0.grn.bias": (1, 1, 1, 8),
    "layernorm.weight": (5,),
}
HEAD = {**{PREFIX + name: shape for name, shape in BARE.items()}, "classifier.weight": (2, 5), "classifier.bias": (2,)}


def tensors(shapes):
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def assert_matched(result, file, pairs):
    matched, report = result
    assert report == LoadReport()
    assert list(matched) == list(pairs)
    for parameter, name in pairs.items():
        assert matched[parameter] is file[name]


def test_the_same_names():
    file = tensors(dict(reversed(HEAD.items())))
    assert_matched(match(file, HEAD, prefix=PREFIX), file, {name: name for name in HEAD})
    file = tensors(BARE)
    assert_matched(match(file, BARE), file, {name: name for name in BARE})


def test_a_head_file_for_the_bare_model():
    file = tensors(HEAD)
    result = match(file, BARE, prefix=PREFIX, ignore=["classifier.*"])
    assert_matched(result, file, {name: PREFIX + name for name in BARE})


def test_a_head_file_for_the_bare_model_needs_leave_to_drop_the_head():
    with pytest.raises(WeightsError, match=r"no place for 'classifier.weight' of shape \(2, 5\).*'classifier.bias'"):
        match(tensors(HEAD), BARE, prefix=PREFIX)


def test_a_bare_file_for_the_head_model():
    file = tensors(BARE)
    with pytest.raises(WeightsError, match=r"lacks 'classifier.weight' of shape \(2, 5\).*; pass strict=False to load"):
        match(file, HEAD, prefix=PREFIX)
    matched, report = match(file, HEAD, prefix=PREFIX, strict=False)
    assert report == LoadReport(missing=("classifier.weight", "classifier.bias"))
    assert list(matched) == [PREFIX + name for name in BARE]


def test_ignored_names_are_used_where_the_model_has_them():
    file = tensors(HEAD)
    assert "classifier.weight" in match(file, HEAD, ignore=["classifier.*"])[0]


def test_ignore_patterns():
    file = tensors({"a.num_batches_tracked": (), "a": (1,)})
    assert_matched(match(file, {"a": (1,)}, ignore=["*.num_batches_tracked"]), file, {"a": "a"})


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_old_names_of_grn(prefix):
    old = {prefix + n.replace("grn.weight", "grn.gamma").replace("grn.bias", "grn.beta"): n for n in BARE}
    file = tensors({name: BARE[new] for name, new in old.items()})
    for expected_prefix in ("", PREFIX):
        expected = {expected_prefix + name: shape for name, shape in BARE.items()}
        pairs = {expected_prefix + new: name for name, new in old.items()}
        assert_matched(match(file, expected, prefix=PREFIX), file, pairs)


def test_other_renames():
    file = tensors({"norm.gamma": (1,)})
    assert_matched(match(file, {"norm.weight": (1,)}, renames={"gamma": "weight"}), file, {"norm.weight": "norm.gamma"})
    with pytest.raises(WeightsError, match=r"no place for 'a.grn.gamma'"):
        match(tensors({"a.grn.gamma": (1,)}), {"a.grn.weight": (1,)}, renames={})


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("names", "parameter"),
    [
        (("layernorm.weight", PREFIX + "layernorm.weight"), "layernorm.weight"),
        (("a.grn.weight", "a.grn.gamma"), "a.grn.weight"),
    ],
)
def test_two_tensors_for_one_parameter(names, parameter, strict):
    with pytest.raises(WeightsError, match=f"'{names[0]}' and '{names[1]}' are both for parameter '{parameter}'"):
        match(tensors(dict.fromkeys(names, (1,))), {parameter: (1,)}, prefix=PREFIX, strict=strict)


@pytest.mark.parametrize("strict", [True, False])
def test_a_wrong_shape_is_always_an_error(strict):
    file = tensors({**HEAD, "classifier.weight": (1000, 5)})
    with pytest.raises(WeightsError, match=r"'classifier.weight' has shape \(1000, 5\), expected \(2, 5\)"):
        match(file, HEAD, strict=strict)
    with pytest.raises(WeightsError, match=r"'a' has shape \(2, 3\), expected \(3, 2\)"):
        match(tensors({"a": (2, 3)}), {"a": (3, 2)}, strict=strict)


def test_the_error_names_the_nearest_counterpart():
    file = tensors({**BARE, "layernom.weight": (5,)})
    del file["layernorm.weight"]
    with pytest.raises(WeightsError) as caught:
        match(file, BARE)
    message = str(caught.value)
    assert "lacks 'layernorm.weight' of shape (5,) (nearest: 'layernom.weight' of shape (5,))" in message
    assert "no place for 'layernom.weight' of shape (5,) (nearest: 'layernorm.weight' of shape (5,))" in message


def test_an_extra_tensor_is_compared_with_all_parameters():
    with pytest.raises(WeightsError, match=r"'layernorm.weight2' of shape \(5,\) \(nearest: 'layernorm.weight' of"):
        match(tensors({**BARE, "layernorm.weight2": (5,)}), BARE)


def test_a_name_like_no_other():
    with pytest.raises(WeightsError, match=r"no place for 'Q' of shape \(1,\); pass"):
        match(tensors({**BARE, "Q": (1,)}), BARE)


def test_not_strict():
    file = tensors({"a": (1,), "c": (1,)})
    matched, report = match(file, {"a": (1,), "b": (2,)}, strict=False)
    assert list(matched) == ["a"]
    assert report == LoadReport(missing=("b",), unexpected=("c",))


@pytest.mark.parametrize("length", [10, 150, 100_000])
def test_hundreds_of_misfits_make_one_short_line_quickly(length):
    expected = {f"{'a' * length}.{i}": (i,) for i in range(700)}
    file = tensors({f"{'b' * length}\n.{i}": (i,) for i in range(700)})
    with pytest.raises(WeightsError, match=r"lacks .* 697 more; .* no place for .* 697 more;") as caught:
        match(file, expected)
    assert len(str(caught.value)) < 3000
    assert str(caught.value).isprintable()


def test_all_shapes_wrong_make_one_short_line():
    with pytest.raises(WeightsError, match=r"'p2' has shape \(2,\), expected \(3,\) and 697 more;"):
        match(tensors({f"p{i}": (i,) for i in range(700)}), {f"p{i}": (i + 1,) for i in range(700)})
