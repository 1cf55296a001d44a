"""The suite of the configurations. Default values and random ones back and forth are in ``test_exchange``."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import copy
import json
import pickle

import parity
import transformers
import twins
from twins import EACH_FAMILY

import npconv
from weights_tools.goldens import reference

pytestmark = pytest.mark.reference


def pair(family, **fields):
    """Return the configuration of a tiny model of npconv, and that of transformers."""
    fields = {**twins.FIELDS[family], **fields}
    return parity.CONFIGS[family](**fields), reference.config_class(family)(**fields)


def plain(value):
    """Return a value as JSON has it; a dtype of torch by its name."""
    return json.loads(json.dumps(value, default=lambda other: str(other).removeprefix("torch.")))


def assert_alike(ours, theirs, names):
    """Check that two configurations have the same values."""
    for name in names:
        assert plain(getattr(ours, name)) == plain(getattr(theirs, name)), name


@EACH_FAMILY
def test_every_field_can_be_read_and_set(family):
    ours, theirs = pair(family)
    for name, value in parity.TINY[family].items():
        assert getattr(ours, name) == value
        changed = value[::-1] if isinstance(value, list) else value + 1
        setattr(ours, name, changed)
        setattr(theirs, name, changed)
        assert_alike(ours, theirs, [name])


#: What every configuration takes, with values that are no defaults.
COMMON = [
    {"architectures": ["SomeModel"]},
    {"dtype": "float16"},
    {"id2label": {0: "a", 1: "b"}},
    {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1, "another a": 0}},
    {"num_labels": 7},
    {"output_hidden_states": True},
    {"problem_type": "multi_label_classification"},
    {"return_dict": False},
    {"of_nobody": {"kept": [1, None, "x"]}},
]


@EACH_FAMILY
@pytest.mark.parametrize("given", COMMON, ids=lambda given: "-".join(given))
def test_common_fields_go_both_ways(tmp_path, family, given):
    fields = {**parity.TINY[family], **given}
    ours, theirs = parity.CONFIGS[family](**fields), reference.config_class(family)(**fields)
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    there = reference.config_class(family).from_pretrained(tmp_path / "ours")
    here = parity.CONFIGS[family].from_pretrained(tmp_path / "theirs")
    for config in (ours, there, here):
        assert_alike(config, theirs, [*given, "num_labels"])


@EACH_FAMILY
def test_another_number_of_labels_gives_them_other_names(family):
    ours, theirs = pair(family)
    for count in (3, 5, 1):
        for config in (ours, theirs):
            config.num_labels = count
        assert_alike(ours, theirs, ["num_labels", "id2label", "label2id"])


@EACH_FAMILY
def test_the_text_of_a_configuration_is_read_by_the_other_library(family):
    ours, theirs = pair(family)
    there = reference.config_class(family).from_dict(json.loads(ours.to_json_string()))
    here = parity.CONFIGS[family].from_dict(json.loads(theirs.to_json_string(use_diff=False)))
    names = [*parity.TINY[family], "id2label", "label2id", "initializer_range", "layer_norm_eps"]
    assert_alike(there, theirs, names)
    assert_alike(here, theirs, names)
    assert json.loads(ours.to_json_string())["model_type"] == theirs.model_type


@EACH_FAMILY
def test_a_json_file_is_read_by_both_libraries(tmp_path, family):
    ours, theirs = pair(family)
    ours.to_json_file(tmp_path / "ours.json")
    theirs.to_json_file(tmp_path / "theirs.json")
    assert parity.CONFIGS[family].from_json_file(tmp_path / "ours.json") == ours
    names = [*parity.TINY[family], "id2label", "label2id"]
    assert_alike(reference.config_class(family).from_json_file(tmp_path / "ours.json"), theirs, names)
    assert_alike(parity.CONFIGS[family].from_json_file(str(tmp_path / "theirs.json")), theirs, names)


@EACH_FAMILY
def test_a_configuration_that_was_saved_and_loaded_is_the_same(tmp_path, family):
    ours, _ = pair(family)
    ours.save_pretrained(tmp_path)
    for found in (
        parity.CONFIGS[family].from_pretrained(tmp_path),
        parity.CONFIGS[family].from_pretrained(tmp_path / "config.json"),
        parity.CONFIGS[family].from_dict(ours.to_dict()),
        npconv.AutoConfig.from_pretrained(tmp_path),
        copy.deepcopy(ours),
        pickle.loads(pickle.dumps(ours)),
    ):
        assert type(found) is type(ours)
        assert found == ours
        assert found.to_dict() == ours.to_dict()


@EACH_FAMILY
def test_a_configuration_in_a_subfolder(tmp_path, family):
    ours, theirs = pair(family)
    theirs.save_pretrained(tmp_path / "theirs" / "inner")
    ours.save_pretrained(tmp_path / "ours" / "inner")
    names = [*parity.TINY[family], "id2label"]
    for loads in (parity.CONFIGS[family], npconv.AutoConfig):
        assert_alike(loads.from_pretrained(tmp_path / "theirs", subfolder="inner"), theirs, names)
    assert_alike(transformers.AutoConfig.from_pretrained(tmp_path / "ours", subfolder="inner"), ours, names)


@EACH_FAMILY
def test_fields_can_be_replaced_when_a_file_is_loaded(tmp_path, family):
    pair(family)[1].save_pretrained(tmp_path)
    given = {"layer_norm_eps": 0.25, "num_labels": 9, "problem_type": "regression"}
    for automatic, named in (
        (transformers.AutoConfig, reference.config_class(family)),
        (npconv.AutoConfig, parity.CONFIGS[family]),
    ):
        for loads in (automatic, named):
            assert_alike(loads.from_pretrained(tmp_path, **given), named(**given), [*given, "id2label"])


@EACH_FAMILY
def test_the_difference_from_the_defaults_makes_the_same_configuration(family):
    ours, theirs = pair(family, layer_norm_eps=0.25)
    difference = ours.to_diff_dict()
    assert difference["layer_norm_eps"] == theirs.to_diff_dict()["layer_norm_eps"] == 0.25
    assert difference["model_type"] == theirs.to_diff_dict()["model_type"]
    for name in ("output_hidden_states", "return_dict", "problem_type"):
        assert name not in difference
        assert name not in theirs.to_diff_dict()
    assert parity.CONFIGS[family].from_dict(difference) == ours


@EACH_FAMILY
def test_an_update_sets_what_it_names(family):
    ours, theirs = pair(family)
    given = {"layer_norm_eps": 0.25, "initializer_range": 0.5, "of_nobody": [1]}
    for config in (ours, theirs):
        config.update(given)
    assert_alike(ours, theirs, given)
    assert ours == parity.CONFIGS[family](**{**twins.FIELDS[family], **given})


@EACH_FAMILY
@pytest.mark.parametrize("return_dict", [True, False])
def test_the_older_name_of_return_dict(family, return_dict):
    ours, theirs = pair(family, return_dict=return_dict)
    assert ours.use_return_dict is theirs.use_return_dict is return_dict


@EACH_FAMILY
def test_configurations_differ_where_a_field_does(family):
    ours, _ = pair(family)
    assert ours != pair(family, layer_norm_eps=0.25)[0]
    assert ours != pair(family, of_nobody=1)[0]
    assert repr(ours).startswith(type(ours).__name__)


@EACH_FAMILY
def test_a_configuration_shares_no_list_with_who_made_it(family):
    fields = copy.deepcopy(twins.FIELDS[family])
    config = parity.CONFIGS[family](**fields)
    text = config.to_json_string()
    for value in fields.values():
        if isinstance(value, list):
            value.append(1)
    for value in config.to_dict().values():
        if isinstance(value, list):
            value.append(1)
    assert config.to_json_string() == text


def test_each_default_is_of_one_configuration():
    """Lists that two configurations shared would let a change of one be seen in the other."""
    for config_class in parity.CONFIGS.values():
        one, other = config_class(), config_class()
        for name, value in vars(one).items():
            if isinstance(value, list | dict) and value:
                assert value is not vars(other)[name], name
