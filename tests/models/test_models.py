"""What holds for the functions of all three families: batches, dtypes, training, inputs that are left alone, errors."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from support import golden_files

from npconv.errors import ConfigError, InputError
from npconv.layers import ACTIVATIONS
from npconv.models import convnext, convnextv2, cvt
from npconv.models.parameters import map_tree

ALL = pytest.mark.parametrize("name", golden_files.NAMES)
DEFAULTS = ["convnext-default", "convnextv2-default", "cvt-default"]
FAMILIES = pytest.mark.parametrize("family", ["convnext", "convnextv2", "cvt"])


def arrays_of(result):
    """Return all arrays of what a family's function returns."""
    first, hidden_states = result
    return [*(first if isinstance(first, list) else [first]), *hidden_states]


@ALL
def test_a_batch_gives_what_its_pictures_give_one_by_one(name):
    golden = golden_files.load(name)
    params = golden.params("float64")
    picture = golden.pixel_values[:1].astype("float64")
    batch = np.concatenate([picture, 0.5 - picture[:, :, ::-1], np.full_like(picture, 0.25)])
    together = arrays_of(golden.run(batch, params))
    for index in range(3):
        alone = arrays_of(golden.run(batch[index : index + 1], params))
        for one, many in zip(alone, together, strict=True):
            if one is not None:
                # Sums are taken in another order where the matrices have another size: some 100 roundings.
                assert golden_files.distance(many[index : index + 1], one) < 1e-13


@FAMILIES
def test_an_empty_batch_gives_empty_outputs(family):
    golden = golden_files.load(f"{family}-default")
    logits, hidden_states = golden.run(golden.pixel_values[:0].astype("float64"), golden.params("float64"))
    assert logits.shape == (0, 5)
    assert [x.shape[0] for x in hidden_states] == [0] * len(hidden_states)


@pytest.mark.parametrize("name", [*DEFAULTS, "convnextv2-backbone_some_stages", "cvt-all_lists_differ", "cvt-model"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_in_is_dtype_out(name, dtype):
    golden = golden_files.load(name)
    arrays = arrays_of(golden.run(golden_files.in_dtype(golden.pixel_values, dtype), golden.params(dtype)))
    assert {x.dtype for x in arrays if x is not None} == {np.dtype(dtype)}


@ALL
def test_nothing_is_written_to(name):
    golden = golden_files.load(name)
    params = golden.params("float32")  # read-only, as the pictures are: a write raises
    x = golden_files.in_dtype(golden.pixel_values, "float32")
    first, again = arrays_of(golden.run(x, params)), arrays_of(golden.run(x, params))
    np.testing.assert_array_equal(x, golden.pixel_values)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    golden.run(x, params, rng=np.random.default_rng(0))  # nor in training


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float32") for name in golden_files.NAMES), *product(DEFAULTS, ["float16", "float64"])],
)
def test_device_arrays_give_the_same_and_never_cross_the_border(device_stub, name, dtype):
    golden = golden_files.load(name)
    x, params = golden_files.in_dtype(golden.pixel_values, dtype), golden.params(dtype)
    x_there, params_there = device_stub.asarray(x), map_tree(device_stub.asarray, params)
    device_stub.ledger.clear()
    there = arrays_of(golden.run(x_there, params_there))
    assert (device_stub.ledger.to_host, device_stub.ledger.to_device) == (0, 0)
    assert device_stub.ledger.synchronised == 0
    assert "float64" not in device_stub.ledger.computed or dtype == "float64"
    for moved, here in zip(there, arrays_of(golden.run(x, params)), strict=True):
        assert (moved is None) == (here is None)
        if here is not None:
            np.testing.assert_array_equal(moved.get(), here)


@FAMILIES
def test_training_on_a_device_draws_on_the_host(device_stub, family):
    golden = golden_files.load(f"{family}-default")
    changes = {"drop_path_rate": [0.5] * 3, "drop_rate": [0.25] * 3} if family == "cvt" else {"drop_path_rate": 0.5}
    x, params = golden_files.in_dtype(golden.pixel_values, "float32"), golden.params("float32")
    x_there, params_there = device_stub.asarray(x), map_tree(device_stub.asarray, params)
    device_stub.ledger.clear()
    there = arrays_of(golden.run(x_there, params_there, rng=np.random.default_rng(7), **changes))
    assert device_stub.ledger.to_host == 0
    for moved, here in zip(
        there, arrays_of(golden.run(x, params, rng=np.random.default_rng(7), **changes)), strict=True
    ):
        np.testing.assert_array_equal(moved.get(), here)


# Training


class ScriptedGenerator:
    """Stands for a random generator: gives prepared numbers to every element, and notes what was asked for."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)
        self.shapes = []

    def random(self, shape):
        self.shapes.append(shape)
        return np.full(shape, self.numbers.pop(0) if self.numbers else 0.999)


@ALL
def test_inference_draws_nothing_and_ignores_the_rates(name):
    golden = golden_files.load(name)
    x, params = golden.pixel_values.astype("float64"), golden.params("float64")
    stages = len(golden.config().depth) if golden.family == "cvt" else None
    names = ("drop_path_rate", "drop_rate", "attention_drop_rate") if stages else ("drop_path_rate",)
    high, none = ({key: [rate] * stages if stages else rate for key in names} for rate in (0.9, 0.0))
    plain = arrays_of(golden.run(x, params))
    untouched = ScriptedGenerator()
    trained = golden.run(x, params, rng=untouched, **none)
    assert untouched.shapes == []
    same = [golden.run(x, params, rng=None, **high)] + ([] if stages else [trained])  # CvT has batch norms
    for result in same:
        for one, two in zip(plain, arrays_of(result), strict=True):
            np.testing.assert_array_equal(one, two)


STAGED = pytest.mark.parametrize(("family", "module"), [("convnext", convnext), ("convnextv2", convnextv2)])


def one_block(family, module):
    """Return an input, a block of it, and the arguments of that block."""
    golden = golden_files.load(f"{family}-default")
    params = golden.params("float64")[family]["encoder"]["stages"][0]["layers"][0]
    x = golden.expected["hidden_states.0"]
    return x, lambda **arguments: module.layer(x, **params, config=golden.config(), **arguments)


@STAGED
def test_a_dropped_block_passes_its_input_and_the_expectation_is_that_of_inference(family, module):
    x, block = one_block(family, module)
    rate = 0.25
    kept = block(drop_path_rate=rate, rng=ScriptedGenerator(rate))
    dropped = block(drop_path_rate=rate, rng=ScriptedGenerator(np.nextafter(rate, 0)))
    np.testing.assert_array_equal(dropped, x)
    expectation = rate * dropped + (1 - rate) * kept
    assert golden_files.distance(expectation, block()) < 1e-14  # a few roundings
    assert np.abs(kept - block()).max() > 1e-3


@STAGED
def test_the_mean_over_many_draws_nears_inference(family, module):
    """The mean is linear in the share of kept draws, so a bound on that share bounds it.

    Hoeffding: the share of 4000 draws is off by more than 0.1 with a probability below 2 * exp(-2 * 4000 * 0.01) =
    4e-35, for any generator worth the name.
    """
    golden = golden_files.load(f"{family}-default")
    params = golden.params("float64")[family]["encoder"]["stages"][0]["layers"][0]
    x = golden.expected["hidden_states.0"][:, :, :3, :2]
    config, rate, draws = golden.config(), 0.25, 4000
    inference = module.layer(x, **params, config=config)
    batch = np.broadcast_to(x, (draws, *x.shape[1:]))
    trained = module.layer(batch, **params, config=config, drop_path_rate=rate, rng=np.random.default_rng(5))
    mean = trained.mean(axis=0, keepdims=True)
    branch = inference - x
    assert (np.abs(mean - inference) <= 0.1 / (1 - rate) * np.abs(branch) + 1e-12).all()
    assert 0.65 < (np.abs(trained - batch).max(axis=(1, 2, 3)) > 0).mean() < 0.85  # so many were kept


class RateRecorder:
    """Stands for a random generator: keeps every element, and notes the shape and the rate of each draw."""

    def __init__(self):
        self.draws = []

    def random(self, shape):
        return _Draw(shape, self.draws)


class _Draw:
    """Random numbers that note what they are compared with."""

    def __init__(self, shape, draws):
        self.shape, self.draws = shape, draws

    def __ge__(self, rate):
        self.draws.append((self.shape, rate))
        return np.ones(self.shape, bool)


@STAGED
def test_drop_path_draws_once_a_block_with_a_rate_and_once_a_sample(family, module):
    golden = golden_files.load(f"{family}-default")
    assert golden.config().depths == [1, 1, 2, 1]
    x = np.repeat(golden.pixel_values.astype("float64"), 3, axis=0)
    recorder = RateRecorder()
    golden.run(x, golden.params("float64"), rng=recorder, drop_path_rate=0.5)
    # From 0 in the first block, which draws nothing, to 0.5 in the fifth.
    assert recorder.draws == [((3,), rate) for rate in (0.125, 0.25, 0.375, 0.5)]


def test_cvt_draws_at_the_sites_of_transformers():
    golden = golden_files.load("cvt-two_stages")  # depth 1, 2; a class token in stage 1
    x = np.repeat(golden.pixel_values.astype("float64"), 3, axis=0)
    recorder = RateRecorder()
    rates = {"drop_rate": [0.1, 0.2], "attention_drop_rate": [0.3, 0.4], "drop_path_rate": [0.5, 0.6]}
    _, hidden_states = golden.run(x, golden.params("float64"), rng=recorder, **rates)

    def sites(stage, tokens, keys, paths):
        batch, width, height, length = hidden_states[stage].shape
        heads = golden.config().num_heads[stage]
        drop, attention_drop, drop_path = (rate[stage] for rate in rates.values())
        path = [((batch,), drop_path)] if paths else []  # the one rate of the first stage is 0
        output = [((batch, tokens, width), drop), *path]
        embedding = ((batch, width, height, length), drop)
        return embedding, [((batch, heads, tokens, keys), attention_drop), *output, *output]

    (_, _, h0, w0), (_, _, h1, w1) = hidden_states[0].shape, hidden_states[1].shape
    keys = [((h + 1) // 2) * ((w + 1) // 2) for h, w in ((h0, w0), (h1, w1))]
    embedding0, block0 = sites(0, h0 * w0, keys[0], paths=False)
    embedding1, block1 = sites(1, 1 + h1 * w1, 1 + keys[1], paths=True)
    assert recorder.draws == [embedding0, *block0, embedding1, *block1, *block1]


def test_cvt_drop_path_scales_or_drops_either_branch():
    golden = golden_files.load("cvt-two_stages")
    params = golden.params("float64")["cvt"]["encoder"]["stages"][1]["layers"][0]
    tokens = golden.pixel_values.astype("float64").ravel()[:50].reshape(1, 5, 10)  # a class token and a 2 x 2 map
    config = golden.config(drop_path_rate=[0.0, 0.25])
    silent = {"dense": map_tree(np.zeros_like, params["output"]["dense"])}
    silent_attention = {
        **params["attention"],
        "output": {"dense": map_tree(np.zeros_like, params["attention"]["output"]["dense"])},
    }

    def branch(**silenced):
        no_drops = golden.config(drop_path_rate=[0.0, 0.0])
        rng = ScriptedGenerator()
        return cvt.layer(tokens, 2, 2, **{**params, **silenced}, config=no_drops, stage_index=1, rng=rng) - tokens

    attention_branch, mlp_branch = branch(output=silent), branch(attention=silent_attention)

    def block(*numbers):
        return cvt.layer(tokens, 2, 2, **params, config=config, stage_index=1, rng=ScriptedGenerator(*numbers))

    keep, drop = 0.25, 0.0
    np.testing.assert_array_equal(block(drop, drop), tokens)
    # Kept with probability 0.75 and divided by it: the expectation is the branch itself.
    assert golden_files.distance(block(keep, drop), tokens + attention_branch / 0.75) < 1e-14
    assert golden_files.distance(block(drop, keep), tokens + mlp_branch / 0.75) < 1e-14
    assert min(np.abs(attention_branch).max(), np.abs(mlp_branch).max()) > 1e-2


# Activations


@FAMILIES
def test_a_callable_activation_is_called_and_cannot_be_saved(family):
    golden = golden_files.load(f"{family}-default")
    x, params = golden.pixel_values.astype("float64"), golden.params("float64")
    for name in ("gelu_new", "relu"):
        by_name, _ = golden.run(x, params, hidden_act=name)
        by_function, _ = golden.run(x, params, hidden_act=ACTIVATIONS[name])
        np.testing.assert_array_equal(by_name, by_function)
    squares, _ = golden.run(x, params, hidden_act=lambda x: x * x)
    assert golden_files.distance(squares, by_name) > 1e-3
    with pytest.raises(ConfigError, match="hidden_act is a callable"):
        golden.config(hidden_act=np.tanh).to_json_string()


# Inputs that do not fit


@ALL
def test_wrong_channels_or_axes_are_refused(name):
    golden = golden_files.load(name)
    x, params = golden.pixel_values.astype("float32"), golden.params("float32")
    channels = x.shape[1]
    for wrong in (x[0], x[None], x[:, :0], np.concatenate([x, x[:, :1]], axis=1), x.transpose(0, 2, 3, 1)):
        with pytest.raises(InputError, match=rf"expected pixel_values of shape \(N, {channels}, H, W\), got "):
            golden.run(wrong, params)


@STAGED
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_pictures_of_one_position_work_and_smaller_ones_are_refused(family, module, stages):
    name = {1: "one_stage", 2: "patch_size_pair", 3: "three_stages"}[stages]
    golden = golden_files.load(f"{family}-{name}")
    params, config = golden.params("float32"), golden.config()
    height, width = (side * 2 ** (stages - 1) for side in config.patch_shape)
    smallest = np.zeros((2, 3, height, width), np.float32)
    logits, hidden_states = golden.run(smallest, params)
    assert hidden_states[-1].shape[2:] == (1, 1)
    assert np.isfinite(logits).all()
    for small in (smallest[:, :, 1:], smallest[:, :, :, 1:], smallest[:, :, :0]):
        with pytest.raises(InputError, match=f"at least {height} x {width} pixels for {stages} stages"):
            golden.run(small, params)


def test_cvt_pictures_smaller_than_the_first_window_are_refused():
    golden = golden_files.load("cvt-one_stage")  # a 5 x 5 window, padding 1
    params = golden.params("float32")
    assert np.isfinite(golden.run(np.zeros((1, 3, 3, 3), np.float32), params)[0]).all()
    for shape in ((1, 3, 2, 3), (1, 3, 3, 2), (1, 3, 0, 0)):
        with pytest.raises(InputError, match="a 5 x 5 window does not fit"):
            golden.run(np.zeros(shape, np.float32), params)


def test_cvt_queries_must_be_as_many_as_positions():
    golden = golden_files.load("cvt-one_stage")
    x, params = golden.pixel_values.astype("float32"), golden.params("float32")
    for changes in ({"stride_q": [2]}, {"padding_q": [0]}, {"padding_q": [2]}):
        with pytest.raises(InputError, match="stage 0: expected as many queries as positions"):
            golden.run(x, params, **changes)


@FAMILIES
def test_integers_are_refused(family):
    golden = golden_files.load(f"{family}-default")
    with pytest.raises(InputError, match="floating-point"):
        golden.run(golden.pixel_values.astype("int64"), golden.params("float32"))


# Models with nothing in them


@pytest.mark.parametrize("family", ["convnext", "convnextv2"])
def test_a_stage_without_blocks_is_its_downsampling(family):
    golden = golden_files.load(f"{family}-stages_without_blocks")
    _, hidden_states = golden.run(golden.pixel_values.astype("float64"), golden.params("float64"))
    np.testing.assert_array_equal(hidden_states[0], hidden_states[1])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("convnext-three_stages", {"depths": [0, 1, 0]}),
        ("convnextv2-three_stages", {"depths": [0, 1, 0]}),
        ("cvt-two_stages", {"depth": [0, 2]}),
    ],
)
def test_stages_may_have_no_blocks(name, changes):
    golden = golden_files.load(name)
    config = golden.config(**changes)
    model = golden_files.CLASSES[golden.family, golden.task](config, seed=1)
    outputs = model(golden.pixel_values, output_hidden_states=True)
    assert np.isfinite(outputs.logits).all()
    assert len(outputs.hidden_states) == len(golden.expected) - 1


def test_parameters_that_the_configuration_asks_for_must_be_there():
    golden = golden_files.load("cvt-default")
    x, params = golden.pixel_values.astype("float64"), golden.params("float64")
    inner = params["cvt"]["encoder"]["stages"][0]["layers"][0]["attention"]["attention"]
    projection = inner.pop("convolution_projection_key")
    with pytest.raises(InputError, match="expected convolution_projection for the method 'dw_bn', got none"):
        golden.run(x, params)
    inner["convolution_projection_key"] = projection
    del params["classifier"]
    with pytest.raises(TypeError, match="NoneType"):
        golden.run(x, params)
