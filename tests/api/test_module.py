"""What people type on a model as on a torch.nn.Module."""

import copy
import pickle

import numpy as np
import pytest
from support.builders import BACKBONES, BARE_MODELS, CLASSIFIERS, CONFIGS, FAMILIES, filled_model, pictures
from support.families import CLASSES

import npconv
from npconv import InputError, NpconvWarning, UnavailableError, WeightsError
from npconv.errors import MisfitError
from npconv.models import FAMILIES as FAMILIES_BY_TYPE

EVERY_CLASS = [*CLASSIFIERS.items(), *BARE_MODELS.items(), *BACKBONES.items()]
every_class = pytest.mark.parametrize(("family", "kind"), EVERY_CLASS, ids=[kind.__name__ for _, kind in EVERY_CLASS])


def dropping(**options):
    """Return a classifier whose calls in training differ from those in inference."""
    config = npconv.ConvNextConfig.from_dict({**CONFIGS["convnext"].to_dict(), "drop_path_rate": 0.9})
    return filled_model(npconv.ConvNextForImageClassification, config, **options)


def fast_pair(family):
    """Return a classifier of the fast engine, and the explicit one of the same numbers."""
    kind = CLASSIFIERS[family]
    return filled_model(kind, CONFIGS[family], engine="fast"), filled_model(kind, CONFIGS[family])


def other_numbers(model):
    """Return a state dict of the model with other numbers."""
    return {name: (array * 1.5 + 0.1).astype(array.dtype) for name, array in model.state_dict().items()}


# Modes


def test_a_model_is_for_inference_until_train_says_otherwise(tmp_path):
    model, x = dropping(), pictures(batch=16)
    expected = model(x).logits
    assert model.training is False
    assert model.train() is model
    assert model.training is True
    np.testing.assert_array_equal(model(x, rng=3).logits, model(x, training=True, rng=3).logits)
    assert np.abs(model(x, rng=3).logits - expected).max() > 1e-3
    np.testing.assert_array_equal(model(x, training=False).logits, expected)
    model.save_pretrained(tmp_path)
    assert type(model).from_pretrained(tmp_path).training is False
    assert model.eval() is model
    np.testing.assert_array_equal(model(x).logits, expected)
    assert model.train(False).training is False
    model.training = True
    assert model.base_model.training is model.classifier.training is True
    model.base_model.eval()
    assert model.training is False
    np.testing.assert_array_equal(model(x, rng=3).logits, expected)


def test_a_mode_is_true_or_false():
    model = dropping()
    for mode in ("train", None, 1):
        with pytest.raises(InputError, match="expected training mode to be True or False"):
            model.train(mode)
    with pytest.raises(InputError, match="training mode"):
        model.classifier.training = "yes"


def test_training_with_the_fast_engine_is_refused_with_a_way_out():
    model = dropping(engine="fast").train()
    with pytest.raises(InputError, match=r"call eval\(\), or use engine='explicit'"):
        model(pictures())
    assert model.eval()(pictures()).logits.shape == (2, 4)
    dropping(engine="explicit").train()(pictures(), rng=0)


def test_forward_is_a_call():
    for family, kind in EVERY_CLASS:
        model, x = filled_model(kind, CONFIGS[family]), pictures()
        for ours, theirs in zip(model.forward(x).values(), model(pixel_values=x).values(), strict=True):
            np.testing.assert_array_equal(np.asarray(ours[0]), np.asarray(theirs[0]))
    classifier = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"])
    assert classifier.forward(x, labels=[0, 1]).loss == classifier(x, [0, 1]).loss


# Dtypes and devices


@pytest.mark.parametrize("engine", ["explicit", "fast"])
@every_class
def test_a_converted_model_gives_the_numbers_of_one_made_so(family, kind, engine):
    x = pictures(dtype="float64")
    for convert, dtype in ((lambda m: m.double(), "float64"), (lambda m: m.to("float16"), "float16")):
        model = filled_model(kind, CONFIGS[family], engine=engine)
        if engine == "fast":
            with pytest.warns(NpconvWarning, match=f"engine 'fast' runs in float32.*in {dtype} on 'cpu'.*explicit"):
                assert convert(model) is model
        else:
            assert convert(model) is model
        assert (model.dtype, model.engine) == (dtype, "explicit")
        expected = filled_model(kind, CONFIGS[family], dtype=dtype)(x)
        for ours, theirs in zip(model(x).values(), expected.values(), strict=True):
            np.testing.assert_array_equal(np.asarray(ours[0]), np.asarray(theirs[0]))


@pytest.mark.parametrize(
    ("arguments", "keywords", "dtype"),
    [
        (("cpu",), {}, "float32"),
        (("cpu:0",), {}, "float32"),
        (("cpu", np.float64), {}, "float64"),
        (("cpu", True), {}, "float32"),
        ((np.dtype("float16"),), {}, "float16"),
        (("float64",), {}, "float64"),
        ((np.zeros(1, np.float64),), {}, "float64"),
        ((), {"dtype": "float16"}, "float16"),
        ((), {"device": "cpu", "non_blocking": True}, "float32"),
        ((), {}, "float32"),
        ((None,), {}, "float32"),
    ],
)
def test_every_form_of_to(arguments, keywords, dtype):
    model = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"])
    assert model.to(*arguments, **keywords) is model
    assert {array.dtype.name for array in model.parameters()} == {dtype}
    assert {array.dtype.kind for name, array in model.state_dict().items() if "num_batches" in name} == {"i"}


def test_what_is_no_dtype_of_models_is_refused_and_changes_nothing():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    for dtype in (int, "float8", np.complex64):
        with pytest.raises(InputError, match="expected dtype to be one of float16, float32, float64"):
            model.to(dtype)
    with pytest.raises(InputError, match="expected device 'cpu'"):
        model.to("abacus")
    assert (model.dtype, model.device) == ("float32", "cpu")


def test_bfloat16_is_float32_and_says_so():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"], dtype="float16")
    with pytest.warns(NpconvWarning, match="bfloat16"):
        assert model.bfloat16().dtype == "float32"


def test_methods_of_dtypes_and_devices():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    assert model.half().dtype == np.float16
    assert model.double().dtype == np.float64
    assert model.float().cpu().dtype == np.float32
    assert model.classifier.double() is not None
    assert model.classifier.weight.dtype == np.float64


def test_a_device_is_a_text_with_a_type():
    for engine in ("explicit", "fast"):
        model = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"], engine=engine)
        assert model.device == model.device.type == "cpu"
        assert f"{model.device}" == "cpu"
        assert next(model.parameters()).device.type == "cpu"
        assert model.to(model.device) is model


def test_the_fast_engine_stays_where_it_can():
    fast, explicit = fast_pair("cvt")
    assert fast.to("cpu").float().to("cpu", "float32").cpu().engine == "fast"
    # Both in float32: the tolerance is that of the engines' own tests.
    np.testing.assert_allclose(fast(pictures()).logits, explicit(pictures()).logits, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="one dtype and device for all parts"):
        fast.classifier.half()
    assert fast.engine == "fast"


@every_class
def test_a_model_moves_to_a_device_and_back(device_stub, family, kind):
    model, x = filled_model(kind, CONFIGS[family]), pictures()
    expected = model(x)
    assert model.to("stub") is model
    assert (model.device, model.device.type, model.engine) == ("stub", "stub", "explicit")
    there = model(x)
    assert type(next(iter(there.values()))[0]).__module__.startswith("device_stub")
    assert {type(array).__module__.partition(".")[0] for array in model.parameters()} == {"device_stub"}
    state = filled_model(kind, CONFIGS[family], device="stub").state_dict()
    model.load_state_dict(state)
    model.load_state_dict(model.to("cpu").state_dict())
    for ours, theirs in zip(model(x).values(), expected.values(), strict=True):
        np.testing.assert_array_equal(np.asarray(ours[0]), np.asarray(theirs[0]))
    array_there = next(iter(state.values()))
    assert model.to(array_there).device == "stub"
    fast = filled_model(kind, CONFIGS[family], engine="fast")
    with pytest.warns(NpconvWarning, match="explicit from now on"):
        assert fast.to("stub").device == "stub"


def test_a_device_that_is_not_there_leaves_the_model_as_it_is():
    for engine in ("explicit", "fast"):
        model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"], engine=engine)
        before = model(pictures()).logits
        with pytest.raises(UnavailableError, match="device 'cuda'"):
            model.cuda()
        assert (model.device, model.engine) == ("cpu", engine)
        np.testing.assert_array_equal(model(pictures()).logits, before)


def test_a_fast_model_that_becomes_explicit_has_the_numbers_it_was_made_of():
    kind, config = CLASSIFIERS["cvt"], CONFIGS["cvt"]
    state = filled_model(kind, config).state_dict()
    expected = kind(config, state, dtype="float64")(pictures()).logits
    model = kind(config, state, engine="fast")
    for array in state.values():
        array[...] = 0
    with pytest.warns(NpconvWarning, match="explicit from now on"):
        np.testing.assert_array_equal(model.double()(pictures()).logits, expected)


# Parameters


@every_class
def test_parameters_by_name_are_those_of_the_checkpoint_without_statistics(family, kind):
    model = filled_model(kind, CONFIGS[family])
    named = dict(model.named_parameters())
    assert sum(p.numel() for p in model.parameters()) == model.num_parameters()
    assert [*named, *dict(model.named_buffers())] == sorted(
        model.state_dict(), key=lambda name: "running" in name or "num_batches" in name
    )
    assert all(
        name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name, _ in model.named_buffers()
    )
    for name, parameter in named.items():
        assert np.shares_memory(parameter, model.state_dict()[name])
        assert model.get_parameter(name) is not None
    assert all(name.startswith("net.") for name, _ in model.named_parameters(prefix="net"))
    assert list(model.named_parameters(recurse=False)) == []


def test_a_parameter_has_what_people_ask_of_a_tensor():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    weight = model.classifier.weight
    assert isinstance(weight, np.ndarray)
    assert (weight.shape, weight.numel(), weight.dim(), weight.grad) == ((4, 14), 56, 2, None)
    assert (weight.size, weight.size(), weight.size(-1)) == (56, (4, 14), 14)
    assert weight.data.nelement() * weight.element_size() == weight.nbytes
    assert type(weight.detach().cpu().numpy()) is np.ndarray
    assert np.shares_memory(weight.numpy(), model.params["classifier"]["weight"])
    assert not (weight * 2).requires_grad
    assert (model.classifier.in_features, model.classifier.out_features) == (14, 4)
    for copied in (copy.deepcopy(weight), pickle.loads(pickle.dumps(weight))):
        np.testing.assert_array_equal(copied, weight)


def test_marks_of_what_is_to_be_trained_are_counted():
    model = filled_model(CLASSIFIERS["convnextv2"], CONFIGS["convnextv2"])
    head = 4 * 14 + 4
    for parameter in model.convnextv2.parameters():
        parameter.requires_grad = False
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == head
    assert model.num_parameters(only_trainable=True) == head
    assert model.base_model.num_parameters(only_trainable=True) == 0
    assert model.num_parameters() > head
    model.requires_grad_(False)
    assert model.num_parameters(only_trainable=True, exclude_embeddings=True) == 0
    model.classifier.requires_grad_()
    assert model.num_parameters(only_trainable=True) == head
    model.classifier.bias.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == head - 4
    assert model.half().num_parameters(only_trainable=True) == head - 4
    assert model.zero_grad() is None
    with pytest.raises(InputError, match="requires_grad to be True or False"):
        model.requires_grad_("no")


def test_statistics_are_not_to_be_trained():
    model = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"])
    assert not any(buffer.requires_grad for buffer in model.buffers())
    assert model.get_memory_footprint() == sum(array.nbytes for array in model.state_dict().values())
    assert model.get_memory_footprint(return_buffers=False) == 4 * model.num_parameters()


# Parts


@every_class
def test_every_parameter_can_be_reached_by_attributes(family, kind):
    model = filled_model(kind, CONFIGS[family])
    for name, array in model.state_dict().items():
        part = model
        for component in name.split("."):
            part = part[int(component)] if component.isdigit() else getattr(part, component)
        assert np.shares_memory(part, array) or array.size == 0


def test_parts_are_where_people_look_for_them():
    model = filled_model(CLASSIFIERS["convnextv2"], CONFIGS["convnextv2"])
    stages = model.convnextv2.encoder.stages
    assert (len(stages), len(stages[1].layers), len(list(stages))) == (3, 2, 3)
    assert stages[-1].layers[0].dwconv.weight.shape == (14, 1, 7, 7)
    assert [len(stage.layers) for stage in stages[1:]] == [2, 1]
    assert [name for name, _ in model.named_children()] == ["convnextv2", "classifier"]
    assert [name for name, _ in model.named_modules()][:4] == [
        "",
        "convnextv2",
        "convnextv2.embeddings",
        "convnextv2.embeddings.patch_embeddings",
    ]
    assert len(list(model.modules())) == len(list(model.named_modules()))
    assert model.get_submodule("") is model
    assert model.get_submodule("convnextv2.encoder.stages.1").layers[0].grn.bias.shape == (1, 1, 1, 40)
    assert "classifier" in dir(model)
    assert "encoder" in dir(model.convnextv2)
    assert "layers" in dir(stages[0])
    projection = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"]).cvt.encoder.stages[0].layers[0].attention.attention
    assert projection.convolution_projection_query.convolution_projection.convolution.bias is None


def test_what_is_no_part_is_an_attribute_error_with_the_nearest():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    with pytest.raises(AttributeError, match=r"'clasifier' \(nearest: 'classifier'\)"):
        model.clasifier  # noqa: B018
    with pytest.raises(AttributeError, match=r"ConvNextModel\.encoder has no attribute 'stage' \(nearest: 'stages'\)"):
        model.convnext.encoder.stage  # noqa: B018
    with pytest.raises(IndexError):
        model.convnext.encoder.stages[7]
    with pytest.raises(TypeError, match="has names, not places"):
        model.classifier[0]
    for wrong in ("classifier.weight", "convnext.encoder.stages.9", "head"):
        with pytest.raises(AttributeError, match="expected a part of the model"):
            model.get_submodule(wrong)
    with pytest.raises(AttributeError, match=r"'classifier.weigth' \(nearest: 'classifier.weight'\)"):
        model.get_parameter("classifier.weigth")
    assert not hasattr(model, "cvt")


@pytest.mark.parametrize("engine", ["explicit", "fast"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_bare_model_in_a_classifier_is_one(family, engine):
    model = filled_model(CLASSIFIERS[family], CONFIGS[family], engine=engine)
    bare = getattr(model, family)
    assert isinstance(bare, BARE_MODELS[family])
    assert type(model.base_model) is type(bare)
    assert bare.base_model is bare
    x = pictures()
    expected = BARE_MODELS[family](CONFIGS[family], {**bare.state_dict()}, engine=engine)(x)
    for ours, theirs in zip(bare(x).values(), expected.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name, array in bare.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[f"{family}.{name}"])
    if family != "cvt":  # which has a norm between
        logits = model.classifier(bare(x).pooler_output)
        # The same sums in float32 in another order than in the fast engine.
        np.testing.assert_allclose(logits, model(x).logits, rtol=1e-5, atol=1e-5)


def test_a_bare_model_and_its_classifier_have_arrays_in_common():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    bare = model.convnext
    model.half()
    assert bare.dtype == np.float16
    assert bare.state_dict().keys() == model.base_model.state_dict().keys()
    model.convnext.encoder.stages[0].layers[0].dwconv.bias[:] = 7
    assert (bare.params["encoder"]["stages"][0]["layers"][0]["dwconv"]["bias"] == 7).all()


def test_a_backbone_or_bare_model_is_its_own_base():
    for kinds in (BARE_MODELS, BACKBONES):
        model = filled_model(kinds["convnext"], CONFIGS["convnext"])
        assert model.base_model is model
    dinov3 = npconv.DINOv3ConvNextModel(npconv.DINOv3ConvNextConfig(hidden_sizes=[4, 6, 8, 10], depths=[1, 1, 1, 1]))
    assert dinov3.model.stages[0].layers[0].gamma.shape == (4,)  # where it is in transformers


@pytest.mark.parametrize("family", [name for name, family in FAMILIES_BY_TYPE.items() if family.tensorflow_names])
def test_classes_of_tensorflow_have_modes_and_parts_too(family):
    names = FAMILIES_BY_TYPE[family].tensorflow_names
    model = filled_model(getattr(npconv, names["image_classification"]), CONFIGS[family])
    assert type(model.base_model).__name__ == type(getattr(model, family)).__name__ == names["model"]
    x = pictures()
    np.testing.assert_array_equal(model.forward(x).logits, model.call(x).logits)
    assert model.train()(x, rng=0).logits.shape == (2, 4)
    hidden_states = model.eval()(x, output_hidden_states=[1]).hidden_states
    assert [state is not None for state in hidden_states][:2] == [False, True]


def test_only_linear_parts_can_be_called():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    with pytest.raises(InputError, match=r"got ConvNextModel\.embeddings; see npconv\.models\.convnext"):
        model.convnext.embeddings(pictures())


# Setting


@pytest.mark.parametrize("engine", ["explicit", "fast"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_set_is_computed_with(family, engine):
    model = filled_model(CLASSIFIERS[family], CONFIGS[family], engine=engine)
    before = model(pictures()).logits
    model.classifier.bias = model.classifier.bias + np.arange(4, dtype=np.float64)
    # One addition in float32 of numbers of about 10.
    np.testing.assert_allclose(model(pictures()).logits - before, [[0, 1, 2, 3]] * 2, atol=1e-5)
    assert model.classifier.bias.dtype == np.float32
    model.classifier = {
        "weight": np.zeros((4, 14 if family != "cvt" else 12), "float32"),
        "bias": np.ones(4, "float32"),
    }
    np.testing.assert_array_equal(model(pictures()).logits, 1)


def test_what_is_set_must_fit():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    before = model(pictures()).logits
    with pytest.raises(WeightsError, match=r"weight.*\(3, 14\), expected \(4, 14\)"):
        model.classifier.weight = np.zeros((3, 14), np.float32)
    with pytest.raises(InputError, match="expected a NumPy or CuPy array, got int"):
        model.classifier.bias = 0
    with pytest.raises(WeightsError, match="floating-point numbers for bias, got int64"):
        model.classifier.bias = np.zeros(4, np.int64)
    found = r"for classifier arrays weight float32 \(4, 14\), bias float32 \(4,\), got "
    with pytest.raises(InputError, match=found + "NoneType; another number of classes is.*no head the bare model"):
        model.classifier = None
    with pytest.raises(InputError, match=found + r"bias float32 \(4,\)"):
        model.classifier = {"bias": np.zeros(4, np.float32)}
    with pytest.raises(InputError, match=found + r"weight float64 \(4, 15\), bias float64 \(4,\)"):
        model.classifier = {"weight": np.zeros((4, 15)), "bias": np.zeros(4)}
    with pytest.raises(AttributeError, match=r"no part 'weigth' to set \(nearest: 'weight'\)"):
        model.classifier.weigth = np.zeros((4, 14))
    np.testing.assert_array_equal(model(pictures()).logits, before)
    model.classifier.weight += 1
    assert np.abs(model(pictures()).logits - before).max() > 1e-3
    model.remark = "an attribute of the user's"
    assert model.remark


def test_arrays_of_the_fast_engine_cannot_be_written_to_in_vain():
    fast, _ = fast_pair("convnext")
    for array in (fast.classifier.weight, fast.params["classifier"]["weight"], fast.state_dict()["classifier.weight"]):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


# State dicts


@pytest.mark.parametrize("engine", ["explicit", "fast"])
@every_class
def test_loaded_numbers_are_computed_with(family, kind, engine):
    model = filled_model(kind, CONFIGS[family], engine=engine)
    x, state = pictures(), other_numbers(model)
    result = model.load_state_dict(state)
    assert (result.missing_keys, result.unexpected_keys) == ([], [])
    expected = kind(CONFIGS[family], state, engine=engine)(x)
    for ours, theirs in zip(model(x).values(), expected.values(), strict=True):
        np.testing.assert_array_equal(np.asarray(ours[0]), np.asarray(theirs[0]))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
        assert not np.shares_memory(array, state[name])


@pytest.mark.parametrize("engine", ["explicit", "fast"])
def test_a_state_dict_that_does_not_fit_is_refused_and_changes_nothing(engine):
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"], engine=engine)
    before, state = model(pictures()).logits, other_numbers(model)
    wrong = {**state, "classifier.weight": np.zeros((9, 14), np.float32)}
    for strict in (True, False):
        with pytest.raises(WeightsError, match=r"classifier\.weight.*\(9, 14\), expected \(4, 14\)"):
            model.load_state_dict(wrong, strict=strict)
    with pytest.raises(WeightsError, match="surplus"):
        model.load_state_dict({**state, "surplus": np.zeros(1, np.float32)})
    with pytest.raises(WeightsError, match=r"lacks 'classifier\.bias'.*pass strict=False"):
        model.load_state_dict({name: array for name, array in state.items() if name != "classifier.bias"})
    with pytest.raises(InputError, match="expected arrays by name"):
        model.load_state_dict([1])
    with pytest.raises(InputError, match="expected a NumPy or CuPy array"):
        model.load_state_dict({**state, "classifier.bias": [0.0] * 4})
    np.testing.assert_array_equal(model(pictures()).logits, before)


def test_a_state_dict_that_does_not_fit_is_a_runtime_error():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    for state in ({}, {**model.state_dict(), "classifier.bias": np.zeros(5, np.float32)}):
        with pytest.raises(RuntimeError, match="do not fit the model"):
            model.load_state_dict(state)


@pytest.mark.parametrize("engine", ["explicit", "fast"])
def test_not_strict_loads_what_fits_and_names_the_rest(engine):
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"], engine=engine)
    kept = model.classifier.weight.copy()
    state = other_numbers(model)
    del state["classifier.weight"]
    result = model.load_state_dict({**state, "head.fc": np.zeros(2, np.float32)}, strict=False)
    assert result == (["classifier.weight"], ["head.fc"])
    np.testing.assert_array_equal(model.classifier.weight, kept)
    np.testing.assert_array_equal(model.classifier.bias, state["classifier.bias"])


def test_numbers_take_the_dtype_of_the_model():
    model = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"], dtype="float16")
    state = {
        name: array.astype("float64") if array.dtype.kind == "f" else array
        for name, array in model.state_dict().items()
    }
    model.load_state_dict(state, assign=True)
    assert model.dtype == np.float16
    assert model(pictures()).logits.dtype == np.float16


def test_parts_load_state_dicts_of_their_own():
    model, other = (CLASSIFIERS["convnextv2"](CONFIGS["convnextv2"], seed=seed) for seed in (0, 1))
    other.classifier.bias[:] = 3
    model.classifier.load_state_dict(other.classifier.state_dict())
    np.testing.assert_array_equal(model.state_dict()["classifier.bias"], 3)
    model.convnextv2.load_state_dict(other.base_model.state_dict())
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)


def test_a_part_of_the_fast_engine_that_cannot_be_folded_alone_says_so():
    fast, explicit = fast_pair("convnext")
    with pytest.raises(InputError, match="expected the whole model: engine 'fast' folds all"):
        fast.convnext.load_state_dict(explicit.convnext.state_dict())
    fast.classifier.load_state_dict({"weight": np.zeros((4, 14), "float32"), "bias": np.ones(4, "float32")})
    np.testing.assert_array_equal(fast(pictures()).logits, 1)


def test_the_bare_model_of_the_fast_engine_follows_the_whole():
    fast, explicit = fast_pair("convnext")
    bare, state = fast.convnext, other_numbers(fast)
    assert fast.convnext is fast.base_model is bare
    fast.load_state_dict(state)
    explicit.load_state_dict(state)
    # Both in float32: the tolerance is that of the engines' own tests.
    expected = explicit.convnext(pictures()).pooler_output
    np.testing.assert_allclose(bare(pictures()).pooler_output, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="one dtype and device for all parts"):
        bare.double()
    with pytest.warns(NpconvWarning, match="explicit from now on"):
        fast.double()
    assert (bare.dtype, bare.engine) == ("float64", "explicit")
    assert np.shares_memory(bare.state_dict()["layernorm.bias"], fast.state_dict()["convnext.layernorm.bias"])


def test_what_was_known_of_the_numbers_is_found_anew():
    for engine in ("explicit", "fast"):
        model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"], engine=engine)
        assert model.not_finite == {}
        model.load_state_dict({**model.state_dict(), "classifier.bias": np.full(4, np.nan, np.float32)})
        assert model.not_finite == {"classifier.bias": 4}


def test_statistics_may_be_numbers_without_a_shape():
    for engine in ("explicit", "fast"):
        kind, config = CLASSIFIERS["cvt"], CONFIGS["cvt"]
        state = {name: array[()] for name, array in filled_model(kind, config).state_dict().items()}
        model = kind(config, state, engine=engine)
        model.load_state_dict(state)
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, state[name])
            assert isinstance(array, np.ndarray)


# Other things


@pytest.mark.parametrize("engine", ["explicit", "fast"])
def test_copies_and_pickles_are_models_of_their_own(engine):
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"], engine=engine)
    expected = model(pictures()).logits
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        copied.classifier.bias = np.full(4, 99, np.float32)
        copied.requires_grad_(False).train()
        np.testing.assert_array_equal(model(pictures()).logits, expected)
        assert model.num_parameters(only_trainable=True) == model.num_parameters()
    assert copy.copy(model.classifier).weight.shape == (4, 14)


def test_names_of_where_it_came_from(tmp_path):
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    assert model.name_or_path == ""
    model.save_pretrained(tmp_path)
    assert type(model).from_pretrained(tmp_path).name_or_path == str(tmp_path)
    assert {kind.main_input_name for kind in CLASSES.values()} == {"pixel_values"}


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ([1, -1], {1, 3}),
        ((0,), {0}),
        ([0, 0, 9, -9], {0}),
        ([9], set()),
        (2, {2}),
        (-1, {3}),
        (np.int64(1), {1}),
        (True, {0, 1, 2, 3}),
        (np.True_, {0, 1, 2, 3}),
    ],
)
def test_a_list_chooses_hidden_states(wanted, places):
    for kinds in (CLASSIFIERS, BARE_MODELS, BACKBONES):
        model = filled_model(kinds["convnext"], CONFIGS["convnext"])
        every = model(pictures(), output_hidden_states=True).hidden_states
        chosen = model(pictures(), output_hidden_states=wanted).hidden_states
        assert {place for place, state in enumerate(chosen) if state is not None} == places
        assert len(chosen) == 4
        for place in places:
            np.testing.assert_array_equal(chosen[place], every[place])


def test_no_hidden_states_and_what_chooses_none():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    for wanted in (False, None, [], 0):
        assert model(pictures(), output_hidden_states=wanted).hidden_states is None
    for wanted in ("yes", [1.5], {"stage1": True}):
        with pytest.raises(InputError, match="expected output_hidden_states to be True, False or a list of places"):
            model(pictures(), output_hidden_states=wanted)


@pytest.mark.parametrize("name", [None, 1, b"classifier.weight", ("classifier", "weight")], ids=repr)
@pytest.mark.parametrize("strict", [True, False])
def test_names_in_a_state_dict_are_texts(name, strict):
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    state = {**model.state_dict(), name: np.zeros((4, 14), np.float32)}
    with pytest.raises(MisfitError, match="expected names of parameters, got "):
        model.load_state_dict(state, strict=strict)
    with pytest.raises(MisfitError, match="expected names of parameters, got "):
        type(model)(model.config, state)
