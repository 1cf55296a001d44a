"""The suite of the models: files that go back and forth, heads, and calls."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import inspect

import numpy as np
import parity
import torch
import transformers
import twins
from twins import EACH, EACH_CLASSIFIER, EACH_FAMILY, NAMES

import npconv
from npconv.models import FAMILIES
from weights_tools.goldens import reference

pytestmark = pytest.mark.reference


def saved(model, folder):
    """Save a model of either library, and return where."""
    model.save_pretrained(folder)
    return folder


# Files


@EACH
def test_weights_go_to_transformers_and_back_bit_for_bit(tmp_path, family, task):
    model = twins.ours(family, task)
    there = reference.model_class(family, task).from_pretrained(saved(model, tmp_path / "ours"))
    twins.assert_same_bits(twins.tensors_of(there, family), model.state_dict())
    back = type(model).from_pretrained(saved(there, tmp_path / "theirs"))
    twins.assert_same_bits(back.state_dict(), model.state_dict())


@EACH
def test_weights_come_from_transformers_and_go_back_bit_for_bit(tmp_path, family, task):
    model = twins.theirs(family, task)
    expected = twins.tensors_of(model, family)
    here = parity.CLASSES[family, task].from_pretrained(saved(model, tmp_path / "theirs"))
    twins.assert_same_bits(here.state_dict(), expected)
    back = type(model).from_pretrained(saved(here, tmp_path / "ours"))
    twins.assert_same_bits(twins.tensors_of(back, family), expected)


@EACH
def test_saving_twice_writes_the_same_bytes(tmp_path, family, task):
    model = twins.ours(family, task)
    first = saved(model, tmp_path / "first")
    second = saved(type(model).from_pretrained(first), tmp_path / "second")
    for name in ("model.safetensors", "config.json"):
        assert (second / name).read_bytes() == (first / name).read_bytes()


OTHER_TASKS = [
    (family, task, other)
    for family, task in twins.TASKS
    for other in FAMILIES[family].tasks
    if task != "backbone" and other != task
]


@pytest.mark.parametrize(("family", "task", "other"), OTHER_TASKS)
@pytest.mark.filterwarnings("ignore::npconv.NpconvWarning")
def test_a_class_takes_from_the_file_of_another_what_it_has_in_common(tmp_path, family, task, other):
    """A classifier's file makes a bare model and a backbone; a bare model's makes the others but for the head."""
    saved(twins.ours(family, task), tmp_path)
    model = parity.CLASSES[family, other].from_pretrained(tmp_path, strict=False)
    theirs, report = reference.model_class(family, other).from_pretrained(tmp_path, output_loading_info=True)
    missing = set(model.loading_report.missing)
    assert missing == set(report["missing_keys"])
    expected = twins.tensors_of(theirs, family)
    assert set(model.state_dict()) == set(expected)
    for name in set(expected) - missing:
        np.testing.assert_array_equal(model.state_dict()[name], expected[name], err_msg=name)


@EACH_FAMILY
def test_the_automatic_class_of_bare_models_is_that_of_transformers(tmp_path, family):
    saved(twins.theirs(family, "model"), tmp_path)
    chosen = transformers.AutoModel.from_pretrained(tmp_path)
    model = npconv.AutoModel.from_pretrained(tmp_path)
    assert type(model).__name__ == type(chosen).__name__
    assert type(npconv.AutoModel.from_config(model.config)) is type(model)


# Heads


@EACH_CLASSIFIER
def test_a_head_of_another_size_is_a_runtime_error_unless_it_is_to_be_new(tmp_path, family):
    file = twins.ours(family, "image_classification")
    saved(file, tmp_path)
    model_class = type(file)
    for library_class in (model_class, reference.model_class(family, "image_classification")):
        with pytest.raises(RuntimeError):
            library_class.from_pretrained(tmp_path, num_labels=7)
    theirs, report = reference.model_class(family, "image_classification").from_pretrained(
        tmp_path, num_labels=7, ignore_mismatched_sizes=True, output_loading_info=True
    )
    with pytest.warns(npconv.NpconvWarning, match=r"classifier"):
        model = model_class.from_pretrained(tmp_path, num_labels=7, ignore_mismatched_sizes=True)
    replaced = {name for name, *_ in report["mismatched_keys"]}
    for name, tensor in twins.tensors_of(theirs, family).items():
        assert model.state_dict()[name].shape == tensor.shape, name
        same = model.state_dict()[name].shape == file.state_dict()[name].shape
        assert same == (name not in replaced), name
        if same:
            np.testing.assert_array_equal(model.state_dict()[name], file.state_dict()[name], err_msg=name)
    assert model(np.zeros(twins.SHAPE, np.float32)).logits.shape == (3, 7)


@EACH_CLASSIFIER
@pytest.mark.parametrize("fields", [{"num_labels": 5}, {"id2label": {0: "a", 1: "b"}}, {"num_labels": 1}])
@pytest.mark.filterwarnings("ignore::npconv.NpconvWarning")
def test_labels_of_a_new_head_are_those_of_transformers(tmp_path, family, fields):
    saved(twins.ours(family, "image_classification"), tmp_path)
    if "id2label" in fields:  # transformers keeps the numbers of the old names
        fields = {**fields, "label2id": {name: number for number, name in fields["id2label"].items()}}
    arguments = {**fields, "ignore_mismatched_sizes": True}
    theirs = transformers.AutoModelForImageClassification.from_pretrained(tmp_path, **arguments).config
    config = npconv.AutoModelForImageClassification.from_pretrained(tmp_path, **arguments).config
    assert config.num_labels == theirs.num_labels
    assert config.id2label == theirs.id2label
    assert config.label2id == theirs.label2id


@EACH_CLASSIFIER
def test_other_names_for_the_same_classes_leave_the_numbers_alone(tmp_path, family):
    file = twins.ours(family, "image_classification")
    saved(file, tmp_path)
    model = type(file).from_pretrained(tmp_path, id2label={0: "a", 1: "b", 2: "c"})
    assert list(model.config.id2label.values()) == ["a", "b", "c"]
    twins.assert_same_bits(model.state_dict(), file.state_dict())


# Calls


@EACH
def test_a_call_repeats_itself(family, task):
    pair = twins.shared(family, task)
    outputs = parity.outputs_of(pair.ours, pair.pixel_values)
    twins.assert_same_outputs(parity.outputs_of(pair.ours, pair.pixel_values), outputs)
    again = type(pair.ours)(pair.ours.config, pair.weights, dtype="float64")
    twins.assert_same_outputs(parity.outputs_of(again, pair.pixel_values), outputs)


@EACH
def test_a_batch_is_its_pictures(family, task):
    """Within rounding: the products of matrices of several pictures add in another order."""
    pair = twins.shared(family, task)
    whole = parity.outputs_of(pair.ours, pair.pixel_values)
    for i in range(len(pair.pixel_values)):
        alone = parity.outputs_of(pair.ours, pair.pixel_values[i : i + 1])
        twins.assert_close(alone, {name: array[i : i + 1] for name, array in whole.items()})


@EACH
def test_a_tuple_holds_what_the_object_holds(family, task):
    pair = twins.shared(family, task)
    named = pair.ours(pair.pixel_values, output_hidden_states=True)
    plain = pair.ours(pair.pixel_values, output_hidden_states=True, return_dict=False)
    assert isinstance(plain, tuple)
    assert len(plain) == len(named)
    for number, (name, part) in enumerate(zip(named, plain, strict=True)):
        for value in (named[name], named[number], getattr(named, name), named.to_tuple()[number]):
            np.testing.assert_equal(value, part, err_msg=name)


@EACH
def test_inputs_by_position_by_name_and_in_a_batch_feature_are_the_same(family, task):
    pair = twins.shared(family, task)
    x = pair.pixel_values
    first = pair.ours(x)[0]
    inputs = npconv.images.BatchFeature(pixel_values=x)
    for output in (pair.ours(pixel_values=x), pair.ours(**inputs), pair.ours(inputs), pair.ours.forward(x)):
        np.testing.assert_equal(output[0], first)


@EACH
def test_tensors_of_torch_are_taken_and_arrays_given_back(family, task):
    pair = twins.shared(family, task)
    tensor = torch.tensor(pair.pixel_values).float()  # float16 numbers, exact in every dtype
    outputs = parity.outputs_of(pair.ours, tensor)
    assert all(isinstance(array, np.ndarray) for array in outputs.values())
    twins.assert_same_outputs(outputs, parity.outputs_of(pair.ours, pair.pixel_values))
    twins.assert_close(outputs, reference.run(pair.theirs, pair.pixel_values))


@EACH
def test_a_call_leaves_its_input_and_the_weights_alone(family, task):
    pair = twins.make(family, task)
    before, x = {name: array.copy() for name, array in pair.ours.state_dict().items()}, pair.pixel_values.copy()
    pair.ours(x, output_hidden_states=True)
    np.testing.assert_array_equal(x, pair.pixel_values)
    twins.assert_same_bits(pair.ours.state_dict(), before)


@EACH_CLASSIFIER
@pytest.mark.parametrize("of_torch", [False, True])
def test_labels_put_the_loss_first_and_leave_the_logits(family, of_torch):
    pair = twins.shared(family, "image_classification")
    numbers = [2, 0, 1]
    labels = torch.tensor(numbers) if of_torch else np.array(numbers)
    output = pair.ours(pair.pixel_values, labels=labels)
    assert next(iter(output)) == "loss"
    np.testing.assert_array_equal(output.logits, pair.ours(pair.pixel_values).logits)
    np.testing.assert_array_equal(pair.ours(pair.pixel_values, labels=labels, return_dict=False)[0], output.loss)
    each = [pair.ours(pair.pixel_values[i : i + 1], labels=labels[i : i + 1]).loss for i in range(3)]
    assert abs(output.loss - np.mean(each)) <= twins.CLOSE


PROBLEMS = [
    ("regression", 1, np.array([0.5, -1.25, 3.0])),
    ("single_label_classification", 3, np.array([2, 0, 1])),
    ("multi_label_classification", 3, np.array([[1.0, 0, 1], [0, 0, 1], [1, 1, 0]])),
]


@EACH_CLASSIFIER
@pytest.mark.parametrize(("problem_type", "num_labels", "labels"), PROBLEMS)
def test_the_problem_type_of_a_file_chooses_the_loss(tmp_path, family, problem_type, num_labels, labels):
    """Losses by themselves are in ``test_parity``; here the choice comes from a ``config.json`` of transformers."""
    names = {"id2label": dict(enumerate(NAMES[:num_labels])), "label2id": None}
    pair = twins.make(family, "image_classification", **names)
    pair.theirs.config.problem_type = problem_type
    saved(pair.theirs, tmp_path)
    model = type(pair.ours).from_pretrained(tmp_path, dtype="float64")
    assert model.config.problem_type == problem_type
    expected = reference.loss(pair.theirs, pair.pixel_values, labels, problem_type)
    assert abs(model(pair.pixel_values, labels=labels).loss - expected) <= twins.CLOSE * abs(expected)


@EACH
def test_inputs_come_in_the_order_of_transformers(family, task):
    pair = twins.shared(family, task)
    expected = _positional(type(pair.theirs).forward)
    assert expected[0] == pair.theirs.main_input_name == pair.ours.main_input_name
    assert _positional(type(pair.ours).forward)[: len(expected)] == expected


def _positional(function):
    """Return the names of the arguments of a method that may be given by position."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind in kinds][1:]


@EACH
def test_classes_say_of_themselves_what_those_of_transformers_say(family, task):
    pair = twins.shared(family, task)
    for name in ("base_model_prefix", "main_input_name"):
        assert getattr(pair.ours, name) == getattr(pair.theirs, name)
    assert type(pair.ours).__name__ == type(pair.theirs).__name__
    assert type(pair.ours).config_class.__name__ == type(pair.theirs).config_class.__name__
