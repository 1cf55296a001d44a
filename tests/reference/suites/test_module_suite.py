"""The suite of the models as modules: parameters and parts by name, copies, dtypes, and how they are loaded."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import copy
import pickle
from functools import reduce

import numpy as np
import parity
import torch
import transformers
import twins
from twins import EACH, EACH_FAMILY

import npconv
from weights_tools.goldens import reference

pytestmark = pytest.mark.reference


def trained_shapes(model, family):
    """Return the shapes of the trained parameters of a model of transformers, by their names in its files."""
    trained = {id(parameter) for parameter in model.parameters()}
    kept = type(model).state_dict(model, keep_vars=True).values()
    named = zip(twins.tensors_of(model, family), kept, strict=True)
    return {name: tuple(tensor.shape) for name, tensor in named if id(tensor) in trained}


def part_of(module, key):
    """Return a part of a module by a key in the names of parameters."""
    return module[int(key)] if key.isdigit() else getattr(module, key)


# Parameters and parts


@EACH
def test_parameters_have_the_names_and_shapes_of_transformers(family, task):
    pair = twins.make(family, task)
    expected = trained_shapes(pair.theirs, family)
    assert {name: parameter.shape for name, parameter in pair.ours.named_parameters()} == expected
    assert sorted(parameter.shape for parameter in pair.ours.parameters()) == sorted(expected.values())


@EACH
def test_parameters_are_counted_as_in_transformers(family, task):
    pair = twins.shared(family, task)
    assert pair.ours.num_parameters() == pair.theirs.num_parameters()
    assert pair.ours.num_parameters(only_trainable=True) == pair.theirs.num_parameters(only_trainable=True)


@EACH
def test_every_tensor_is_found_by_the_attributes_in_its_name(family, task):
    """Such as ``model.convnext.encoder.stages[0].layers[1].dwconv.weight``."""
    pair = twins.shared(family, task)
    for name, array in pair.weights.items():
        np.testing.assert_array_equal(reduce(part_of, name.split("."), pair.ours), array, err_msg=name)


@EACH
def test_a_part_that_no_model_has_is_an_attribute_error(family, task):
    pair = twins.shared(family, task)
    for model in (pair.ours, pair.theirs):
        assert not hasattr(model, "decoder")


@EACH
def test_the_state_of_a_model_of_transformers_is_loaded(family, task):
    """As NumPy's arrays elsewhere: here its tensors."""
    pair = twins.shared(family, task)
    model = type(pair.ours)(pair.ours.config, dtype="float64")
    model.load_state_dict(pair.theirs.state_dict())
    twins.assert_same_outputs(
        parity.outputs_of(model, pair.pixel_values), parity.outputs_of(pair.ours, pair.pixel_values)
    )


@EACH
def test_a_state_of_other_shapes_is_a_runtime_error(family, task):
    pair = twins.make(family, task)
    name = next(iter(pair.weights))
    broken = {**pair.weights, name: pair.weights[name][..., :1]}
    for model, state in ((pair.ours, broken), (pair.theirs, {n: torch.tensor(a) for n, a in broken.items()})):
        with pytest.raises(RuntimeError):
            model.load_state_dict(state)
    lacking = {other: array for other, array in pair.weights.items() if other != name}
    for model, state in ((pair.ours, lacking), (pair.theirs, {n: torch.tensor(a) for n, a in lacking.items()})):
        with pytest.raises(RuntimeError):
            model.load_state_dict(state)


@EACH
def test_what_training_begins_with_is_what_transformers_begins_with(family, task):
    """What is one number there (0, 1, the layer scale) is it here; what is random there is random here, as wide.

    Of 50 numbers or more the standard deviation is within a factor of 2 of the one that they are drawn with: 0.5 is
    five times what it varies by, and the random numbers are the same in every run.
    """
    config = twins.CONFIGS[family](**twins.FIELDS[family])
    state = twins.CLASSES[family, task](config).state_dict()
    for name, tensor in twins.tensors_of(twins.theirs(family, task), family).items():
        if tensor.size == 1 or tensor.std() == 0:
            np.testing.assert_array_equal(state[name], tensor, err_msg=name)
        elif tensor.size >= 50:
            assert tensor.std() / 2 <= state[name].std() <= tensor.std() * 2, name
        else:
            assert state[name].std() > 0, name


@EACH
def test_copies_are_models_of_their_own(family, task):
    pair = twins.shared(family, task)
    expected = parity.outputs_of(pair.ours, pair.pixel_values)
    for made in (copy.deepcopy(pair.ours), pickle.loads(pickle.dumps(pair.ours))):
        assert type(made) is type(pair.ours)
        twins.assert_same_outputs(parity.outputs_of(made, pair.pixel_values), expected)
        for array in made.state_dict().values():
            array[...] = 0
    twins.assert_same_outputs(parity.outputs_of(pair.ours, pair.pixel_values), expected)


# Dtypes and devices

CASTS = {
    "half": lambda model: model.half(),
    "float": lambda model: model.float(),
    "double": lambda model: model.double(),
    "to a dtype of torch": lambda model: model.to(torch.float16),
    "to a device and a dtype": lambda model: model.to("cpu", torch.float64),
    "to a dtype by name": lambda model: model.to(dtype=torch.float32),
}


@EACH_FAMILY
@pytest.mark.parametrize("name", CASTS)
def test_a_cast_changes_the_dtype_of_the_model_itself(family, name):
    pair = twins.make(family, "model")
    assert CASTS[name](pair.ours) is pair.ours
    assert CASTS[name](pair.theirs) is pair.theirs
    expected = str(pair.theirs.dtype).removeprefix("torch.")
    assert pair.ours.dtype == expected
    assert {str(array.dtype) for array in pair.ours.state_dict().values() if array.dtype.kind == "f"} == {expected}
    assert {str(array.dtype) for array in parity.outputs_of(pair.ours, pair.pixel_values).values()} == {expected}


STAYS = {
    "cpu": lambda model: model.cpu(),
    "to cpu": lambda model: model.to("cpu"),
    "to a device of torch": lambda model: model.to(torch.device("cpu")),
    "to by name": lambda model: model.to(device="cpu"),
    "eval": lambda model: model.eval(),
    "train False": lambda model: model.train(False),
}


@EACH_FAMILY
@pytest.mark.parametrize("name", STAYS)
def test_what_is_there_already_is_left_as_it_is(family, name):
    pair = twins.make(family, "model")
    expected = parity.outputs_of(pair.ours, pair.pixel_values)
    assert STAYS[name](pair.ours) is pair.ours
    assert STAYS[name](pair.theirs) is pair.theirs
    assert str(pair.ours.device) == str(pair.theirs.device)
    twins.assert_same_outputs(parity.outputs_of(pair.ours, pair.pixel_values), expected)


SPELLINGS = {
    "text": {"dtype": "float16"},
    "torch": {"dtype": torch.float16},
    "auto": {"dtype": "auto"},
    "older text": {"torch_dtype": "float16"},
    "older torch": {"torch_dtype": torch.float16},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_dtype_in_every_spelling(tmp_path, spelling):
    family = "convnextv2"
    twins.theirs(family, "model").half().save_pretrained(tmp_path)
    theirs = reference.model_class(family, "model").from_pretrained(tmp_path, **SPELLINGS[spelling])
    model = parity.CLASSES[family, "model"].from_pretrained(tmp_path, **SPELLINGS[spelling])
    assert str(theirs.dtype) == f"torch.{model.dtype}" == "torch.float16"
    twins.assert_same_bits(model.state_dict(), twins.tensors_of(theirs, family))


@EACH_FAMILY
@pytest.mark.parametrize("dtype", ["auto", torch.bfloat16])
@pytest.mark.filterwarnings("ignore::npconv.NpconvWarning")
def test_files_in_bfloat16_are_float32_here(tmp_path, family, dtype):
    theirs = twins.theirs(family, "model").bfloat16()
    theirs.save_pretrained(tmp_path)
    model = parity.CLASSES[family, "model"].from_pretrained(tmp_path, dtype=dtype)
    assert model.dtype == "float32"
    twins.assert_same_bits(model.state_dict(), twins.tensors_of(theirs.float(), family))


# Arguments of loading

LOADING = [
    {"local_files_only": True},
    {"revision": "main"},
    {"token": None},
    {"force_download": False},
    {"subfolder": ""},
    {"use_safetensors": True},
    {"low_cpu_mem_usage": True},
    {"attn_implementation": "eager"},
    {"trust_remote_code": False},
    {"device_map": None},
    {"output_hidden_states": True},
    {"ignore_mismatched_sizes": False},
]


@pytest.mark.parametrize("arguments", LOADING, ids=lambda arguments: next(iter(arguments)))
def test_arguments_of_loading_do_to_both_the_same(tmp_path, arguments):
    pair = twins.make("convnext", "image_classification")
    pair.theirs.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForImageClassification.from_pretrained(tmp_path, dtype=torch.float64, **arguments)
    model = npconv.AutoModelForImageClassification.from_pretrained(tmp_path, dtype="float64", **arguments)
    with torch.no_grad():
        expected = theirs.eval()(torch.tensor(pair.pixel_values).double())
    outputs = model(pair.pixel_values)
    assert list(outputs) == list(expected)
    assert parity.distance(outputs.logits, expected.logits.numpy()) <= twins.CLOSE


@EACH_FAMILY
def test_a_model_in_a_subfolder_and_a_variant_of_its_weights(tmp_path, family):
    theirs = twins.theirs(family, "model")
    theirs.half().save_pretrained(tmp_path / "inner", variant="fp16")
    model = parity.CLASSES[family, "model"].from_pretrained(tmp_path, subfolder="inner", variant="fp16", dtype="auto")
    twins.assert_same_bits(model.state_dict(), twins.tensors_of(theirs, family))


@pytest.mark.parametrize("name", ["AutoConfig", "AutoImageProcessor", "AutoModel", "AutoModelForImageClassification"])
def test_a_model_that_is_not_there_is_an_os_error(tmp_path, name):
    for library in (npconv, transformers):
        with pytest.raises(OSError):
            getattr(library, name).from_pretrained(str(tmp_path / "none"), local_files_only=True)
        with pytest.raises(OSError):
            getattr(library, name).from_pretrained("nobody/none", local_files_only=True)


@pytest.mark.parametrize("name", ["AutoModel", "AutoModelForImageClassification", "ConvNextBackbone"])
def test_a_folder_without_weights_is_an_os_error(tmp_path, name):
    twins.shared("convnext", "model").theirs.config.save_pretrained(tmp_path)
    for library in (npconv, transformers):
        with pytest.raises(OSError):
            getattr(library, name).from_pretrained(str(tmp_path))


def test_an_unknown_argument_of_loading_is_an_error_in_both(tmp_path):
    twins.theirs("convnext", "model").save_pretrained(tmp_path)
    with pytest.raises(TypeError):
        transformers.ConvNextModel.from_pretrained(tmp_path, no_such_argument=1)
    with pytest.raises(npconv.NpconvError, match="no_such_argument"):
        npconv.ConvNextModel.from_pretrained(tmp_path, no_such_argument=1)
