"""The fast engine as users have it, ``engine="fast"``, against the explicit one: see ``fast_models`` for how near."""

import copy
import multiprocessing
import os
import pickle
import threading
import warnings
from contextlib import nullcontext

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from support import fast_models as models
from support import standins
from support.fast_models import (
    BACKBONES,
    CLASSIFIERS,
    CONFIGS,
    KINDS,
    SMALL,
    assert_same,
    in_dtype,
    outputs_of,
    own_threads,
    pictures,
    small,
    tiny_blocks,
)

import npconv
from npconv.errors import ConfigError, InputError
from npconv.models import family_of
from npconv.models.parameters import map_tree, nest

pytestmark = pytest.mark.long

FAMILIES = pytest.mark.parametrize("family", list(CLASSIFIERS))
THREADS = pytest.mark.parametrize("threads", [1, 2])

# Equal to the explicit engine


@pytest.mark.parametrize(("kind", "family"), KINDS)
@settings(max_examples=12)  # of each of eight kinds of model
@given(data=st.data())
def test_random_models_give_what_the_explicit_engine_gives(kind, family, data):
    config = data.draw(models.configs(family))
    height, width = (side + data.draw(st.integers(0, 20)) for side in models.least_size(config))
    x = pictures((data.draw(st.integers(1, 3)), config.num_channels, height, width))
    threads, tiny = data.draw(st.integers(1, 2)), data.draw(st.booleans())
    with own_threads():
        if tiny:
            with tiny_blocks():
                models.assert_equal_engines(kind[family], config, x, threads=threads)
        else:
            models.assert_equal_engines(kind[family], config, x, threads=threads)


@pytest.mark.parametrize(("kind", "family"), [pair for pair in KINDS if pair[0] is not BACKBONES])
@THREADS
@pytest.mark.parametrize("in_groups", [False, True])
def test_who_wants_no_hidden_states_gets_the_same(kind, family, threads, in_groups):
    """Their arrays are used again by the next pass, and what is returned is not."""
    model = small(family, kind, threads=threads)
    x = pictures((5, 3, 48, 40))
    with own_threads(), tiny_blocks() if in_groups else nullcontext():
        whole = model(x, output_hidden_states=True)
        lean = model(x)
        kept = copy.deepcopy(lean)
        model(x[::-1] + 1)
        (firsts, _), (first, maps) = model._fast_engine(x), model._fast_engine(x, every_map=False)
    assert lean.hidden_states is None
    assert lean.keys() == kept.keys()
    for name in lean:
        np.testing.assert_array_equal(lean[name], whole[name])
        np.testing.assert_array_equal(lean[name], kept[name])
    np.testing.assert_array_equal(first, firsts)
    assert len(maps) == 1
    np.testing.assert_array_equal(maps[0], whole.hidden_states[-1])


@FAMILIES
@pytest.mark.parametrize(
    ("shape", "threads"),
    [((1, 3, 225, 225), 2), ((1, 3, 131, 77), 1), ((1, 3, 131, 77), 2), ((3, 3, 33, 64), 1), ((8, 3, 48, 33), 2)],
)
def test_odd_sizes_and_batches(family, shape, threads):
    with own_threads():
        models.assert_equal_engines(
            CLASSIFIERS[family], CONFIGS[family](**SMALL[family]), pictures(shape), threads=threads
        )


@FAMILIES
@THREADS
@pytest.mark.parametrize("batch", [1, 3])
def test_the_smallest_pictures(family, threads, batch):
    config = CONFIGS[family](**SMALL[family])
    height, width = models.least_size(config)
    with own_threads():
        for extra in ((0, 0), (0, 9), (9, 0)):
            shape = (batch, 3, height + extra[0], width + extra[1])
            models.assert_equal_engines(CLASSIFIERS[family], config, pictures(shape), threads=threads)


WIDE = {
    "convnext": {"hidden_sizes": [96, 192], "depths": [1, 1], "num_stages": 2},
    "convnextv2": {"hidden_sizes": [96, 192], "depths": [1, 1], "num_stages": 2},
    "cvt": {"embed_dim": [64, 192], "num_heads": [1, 3], "depth": [1, 1], "cls_token": [False, True]},
}


@FAMILIES
def test_the_widths_of_published_models(family):
    """So wide that products are cut into slabs, and sums are as long as those of real models."""
    models.assert_equal_engines(CLASSIFIERS[family], CONFIGS[family](**WIDE[family]), pictures((1, 3, 97, 64)))


@FAMILIES
@THREADS
def test_an_empty_batch_gives_empty_outputs(family, threads):
    x = np.zeros((0, 3, 40, 36), np.float32)
    with own_threads():
        fast = outputs_of(small(family, threads=threads), x)
    explicit = outputs_of(small(family, engine="explicit"), x)
    assert {name: array.shape for name, array in fast.items()} == {name: a.shape for name, a in explicit.items()}


@FAMILIES
def test_a_loss_is_that_of_the_explicit_engine(family):
    x, labels = pictures((3, 3, 40, 36)), np.array([0, 4, 2])
    expected = small(family, engine="explicit")(x, labels=labels).loss
    assert abs(small(family)(x, labels=labels).loss - expected) <= 1e-5  # of logits around 1, rounded in float32


# Inputs


@pytest.mark.parametrize(("kind", "family"), KINDS)
@THREADS
def test_inputs_and_weights_are_never_written_to(kind, family, threads):
    config, x = CONFIGS[family](**SMALL[family]), standins.readonly(pictures((2, 3, 40, 36)))
    tensors = {name: standins.readonly(array) for name, array in models.weights(kind[family], config).items()}
    for dtype in ("float16", "float32"):
        given_tensors = {name: standins.readonly(in_dtype(array, dtype)) for name, array in tensors.items()}
        with own_threads():
            outputs_of(kind[family](config, given_tensors, engine="fast", threads=threads), x)
    np.testing.assert_array_equal(x, pictures((2, 3, 40, 36)))


@FAMILIES
def test_pictures_may_lie_in_memory_in_any_way_and_dtype(family):
    model, x = small(family), pictures((2, 3, 40, 36))
    expected = outputs_of(model, x)
    wide = np.zeros((2, 3, 80, 72), np.float32)
    wide[:, :, ::2, ::2] = x
    forms = [
        wide[:, :, ::2, ::2],
        np.ascontiguousarray(x[:, :, ::-1, ::-1])[:, :, ::-1, ::-1],
        np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        np.asfortranarray(x),
        x.astype(np.float16),
        x.astype(np.float64),
        x.astype(">f4"),
    ]
    for form in forms:
        assert_same(outputs_of(model, form), expected)


@FAMILIES
def test_one_row_of_pixels_may_stand_for_all(family):
    """A broadcast array has strides of 0."""
    row = pictures((1, 3, 1, 36))
    x = np.broadcast_to(row, (2, 3, 40, 36))
    assert_same(outputs_of(small(family), x), outputs_of(small(family), x.copy()))


# Calls one after another, and at once


@pytest.mark.parametrize(("kind", "family"), KINDS)
@THREADS
def test_no_call_shows_in_the_next(kind, family, threads):
    """Borders, rows of ones and the like must be as new whatever size, batch or number went before."""
    shapes = [(2, 3, 40, 36), (1, 3, 67, 45), (3, 3, 36, 40), (1, 3, 40, 36)]
    with own_threads():
        used = small(family, kind, threads=threads)
        for seed, shape in enumerate(shapes):
            x = pictures(shape, seed)
            expected = outputs_of(small(family, kind, threads=threads), x)
            assert_same(outputs_of(used, x), expected)
            used(np.full(shape, np.nan, np.float32))
            assert_same(outputs_of(used, x), expected)


@FAMILIES
def test_results_do_not_change_with_the_next_call(family):
    model = small(family)
    first = outputs_of(model, pictures((2, 3, 40, 36), 1))
    kept = {name: array.copy() for name, array in first.items()}
    model(pictures((2, 3, 40, 36), 2))
    assert_same(first, kept)
    for array in first.values():
        array[...] = 0  # the caller's own
    assert_same(outputs_of(model, pictures((2, 3, 40, 36), 1)), kept)


@FAMILIES
@THREADS
def test_python_threads_may_call_one_model_at_once(family, threads):
    with own_threads():
        model = small(family, threads=threads)
        shapes = [(2, 3, 40, 36), (2, 3, 40, 36), (1, 3, 67, 45)]  # two of one shape, who must not share arrays
        inputs = [pictures(shape, seed) for seed, shape in enumerate(shapes)]
        expected = [outputs_of(model, x) for x in inputs]
        failures = []

        def work(x, right):
            try:
                for _ in range(8):
                    assert_same(outputs_of(model, x), right)
            except BaseException as error:
                failures.append(error)

        callers = [threading.Thread(target=work, args=pair) for pair in zip(inputs, expected, strict=True)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert failures == []


@FAMILIES
def test_a_model_can_be_copied_and_sent_elsewhere(family):
    model, x = small(family), pictures((1, 3, 40, 36))
    expected = outputs_of(model, x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same(outputs_of(twin, x), expected)


# Numbers that are no ordinary ones


@pytest.mark.parametrize(("kind", "family"), KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@THREADS
@pytest.mark.parametrize("tiny", [False, True])
def test_a_picture_that_is_no_number_does_not_spread(kind, family, bad, threads, tiny):
    x = pictures((4, 3, 40, 36))
    x[1, 0, 5, 7] = bad
    others = [0, 2, 3]
    with own_threads(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the explicit layers of the head warn, as they do in the explicit engine
        model = small(family, kind, threads=threads)
        if tiny:
            with tiny_blocks():
                mixed, clean = outputs_of(model, x), outputs_of(model, pictures((4, 3, 40, 36)))
        else:
            mixed, clean = outputs_of(model, x), outputs_of(model, pictures((4, 3, 40, 36)))
    for name, array in mixed.items():
        np.testing.assert_array_equal(array[others], clean[name][others], err_msg=name)
    last = mixed["logits"] if kind is CLASSIFIERS else next(iter(mixed.values()))
    assert np.isnan(last[1]).any()


@FAMILIES
@pytest.mark.parametrize("size", [1e4, 1e10, 1e-10, 1e-40])
def test_huge_and_tiny_pictures_give_no_warning_and_the_explicit_numbers(family, size):
    """Warnings are errors here. At 1e-40 pixels are denormal."""
    config = CONFIGS[family](**SMALL[family])
    x = pictures((2, 3, 40, 36)) * np.float32(size)
    models.assert_equal_engines(CLASSIFIERS[family], config, x)


@FAMILIES
@pytest.mark.parametrize("value", [0.0, 1.0, -1e10])
def test_constant_pictures(family, value):
    """Their variance over channels is that of the biases alone."""
    models.assert_equal_engines(
        CLASSIFIERS[family], CONFIGS[family](**SMALL[family]), np.full((1, 3, 40, 36), value, np.float32)
    )


@FAMILIES
@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new", "quick_gelu", "silu", "mish", "relu"])
def test_activations_far_beyond_their_curve(family, hidden_act):
    """Pre-activations of some hundreds: the exponential of the logistic curve would overflow if it were not held."""
    config = CONFIGS[family](**{**SMALL[family], "hidden_act": hidden_act})
    tensors = models.weights(CLASSIFIERS[family], config)
    for name, array in tensors.items():
        if "pwconv1" in name or "intermediate" in name:
            tensors[name] = array * np.float16(256)
    x = pictures((2, 3, 40, 36))
    truth = outputs_of(CLASSIFIERS[family](config, tensors, dtype="float64"), x)
    fast = outputs_of(CLASSIFIERS[family](config, tensors, engine="fast"), x)
    bound = models.SLACK * models.rounding_of(CLASSIFIERS[family], config, tensors, x)
    assert models.farthest(fast, truth) <= max(bound, models.LEAST_BOUND)


# What is refused


@FAMILIES
def test_training_is_refused(family):
    with pytest.raises(InputError, match="engine 'fast' is for inference, not training=True; call eval"):
        small(family)(pictures((1, 3, 40, 36)), training=True)


@FAMILIES
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes_are_refused(family, dtype):
    with pytest.raises(InputError, match=f"engine 'fast' runs in float32 on the CPU, got {dtype} on 'cpu'"):
        small(family, dtype=dtype)


@FAMILIES
def test_threads_that_are_no_number_are_refused(family):
    with pytest.raises(InputError, match="expected threads to be a whole number"):
        small(family, threads=0)


def test_options_that_are_not_covered_are_named_when_the_model_is_made():
    config = npconv.CvtConfig(**SMALL["cvt"], stride_q=[1, 2, 1])
    with pytest.raises(ConfigError, match=r"engine 'fast' expects stride_q 1 .* in stage 1; use engine='explicit'"):
        npconv.CvtForImageClassification(config, engine="fast")


@FAMILIES
def test_an_activation_that_looks_at_other_elements_is_refused(family):
    config = CONFIGS[family](**{**SMALL[family], "hidden_act": lambda x: x / np.abs(x).max()})
    with pytest.raises(ConfigError, match="engine 'fast' expects hidden_act to be a function of each element"):
        CLASSIFIERS[family](config, engine="fast")


@FAMILIES
def test_pictures_that_do_not_fit_are_refused_with_the_same_words(family):
    fast, explicit = (small(family, engine=engine) for engine in ("fast", "explicit"))
    for shape in ((1, 4, 40, 36), (3, 40, 36), (1, 3, 1, 36), (1, 3, 40, 1), (1, 3, 0, 0), (0, 3, 1, 1)):
        with pytest.raises(InputError) as expected:
            explicit(np.zeros(shape, np.float32))
        with pytest.raises(InputError) as found:
            fast(np.zeros(shape, np.float32))
        assert str(found.value).partition(": ")[2] == str(expected.value).partition(": ")[2]


# The function that makes an engine


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_an_engine_returns_what_the_function_of_the_family_returns(kind, family):
    config, x = CONFIGS[family](**SMALL[family]), pictures((2, 3, 40, 36))
    params = map_tree(lambda array: array, nest(models.weights(kind[family], config)))
    fast = family_of(config).part("fast")
    first, hidden_states = fast.make_engine(config, fast.fold(config, params))(x)
    expected = small(family, kind)(x, output_hidden_states=True)
    assert len(hidden_states) == len(expected.hidden_states)
    for actual, right in zip(hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_array_equal(actual, right)
    assert isinstance(first, list) == (kind is BACKBONES)


def _answer_in_a_fork(model, pixel_values, queue):
    queue.put(model(pixel_values).logits)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_gets_threads_of_its_own():
    config = npconv.ConvNextConfig(hidden_sizes=[8, 12], depths=[1, 1], num_stages=2)
    model = npconv.ConvNextForImageClassification(config, engine="fast", threads=2)
    x = np.random.default_rng(0).standard_normal((1, 3, 40, 40)).astype(np.float32)
    expected = model(x).logits
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks with threads: that is the point
        child = context.Process(target=_answer_in_a_fork, args=(model, x, queue))
        child.start()
    child.join(timeout=30)
    alive = child.is_alive()
    child.kill()
    assert not alive
    np.testing.assert_array_equal(queue.get(), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 9), (3, 3)])
def test_pictures_smaller_than_a_kernel_are_refused_as_by_the_explicit_engine(size):
    config = npconv.CvtConfig(
        embed_dim=[4, 6],
        num_heads=[1, 2],
        depth=[1, 1],
        cls_token=[False, True],
        kernel_qkv=[5, 5],
        padding_q=[2, 2],
        padding_kv=[0, 0],
    )
    x = np.zeros((1, 3, *size), np.float32)
    for engine in ("explicit", "fast"):
        with pytest.raises(InputError, match="does not fit"):
            npconv.CvtModel(config, engine=engine)(x)
