"""The suite of the pipelines. Features of classifiers are in ``tests/api/test_extraction.py``; here, of bare models.

Both libraries work in float64 on the same pixel values, bit for bit, so that scores differ by rounding alone.
"""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from functools import cache, partial

import numpy as np
import parity
import torch
import transformers
import twins
from PIL import Image
from twins import EACH_CLASSIFIER, EACH_FAMILY

import npconv

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore::npconv.NpconvWarning")]

SEVEN = [f"class {number}" for number in range(7)]
SEVEN_CLASSES = {"id2label": dict(enumerate(SEVEN)), "label2id": {name: i for i, name in enumerate(SEVEN)}}


def photo(seed=0):
    """Return a random picture."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 41, 3), np.uint8))


PHOTOS = [photo(seed) for seed in range(3)]


def save(folder, family, task="image_classification", **fields):
    """Save a model of transformers and its preprocessing; classifiers have seven classes where fields say no others."""
    twins.make(family, task, **{**SEVEN_CLASSES, **fields}).theirs.save_pretrained(folder)
    transformers.ConvNextImageProcessorPil(size={"shortest_edge": 20}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module", params=parity.CLASSIFIERS)
def folder(request, tmp_path_factory):
    """A classifier of seven classes, of each family that classifies."""
    return save(tmp_path_factory.mktemp("classifier"), request.param)


@pytest.fixture(scope="module")
def convnext(tmp_path_factory):
    """One of ConvNeXt, for what has nothing to do with families."""
    return save(tmp_path_factory.mktemp("convnext"), "convnext")


@cache
def pipelines(model, task="image-classification", **options):
    """Return the pipeline of npconv, and that of transformers with its processor that works with Pillow."""
    processor = transformers.ConvNextImageProcessorPil.from_pretrained(model)
    theirs = transformers.pipeline(task, model=model, image_processor=processor, dtype=torch.float64, **options)
    return npconv.pipeline(task, model=model, dtype="float64", **options), theirs


def assert_same_labels(found, expected):
    """Check that results have the same form, labels in the same order, and the same scores but for rounding."""
    assert type(found) is type(expected) is list
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, list):
            assert_same_labels(one, other)
            continue
        assert list(one) == list(other) == ["label", "score"]
        assert one["label"] == other["label"]
        assert type(one["score"]) is float
        assert abs(one["score"] - other["score"]) <= twins.CLOSE * max(1, abs(other["score"]))


INPUTS = {
    "picture": lambda _: PHOTOS[0],
    "path": lambda path: str(path),
    "list of one": lambda _: PHOTOS[:1],
    "list": lambda _: PHOTOS,
    "list of paths": lambda path: [str(path)] * 3,
    "pictures and paths": lambda path: [PHOTOS[0], str(path)],
    "array": lambda _: np.asarray(PHOTOS[0]),
    "torch": lambda _: torch.tensor(np.asarray(PHOTOS[0]).transpose(2, 0, 1).copy()),
    "list of arrays": lambda _: [np.asarray(picture) for picture in PHOTOS],
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_of_every_kind(tmp_path, folder, name):
    PHOTOS[1].save(tmp_path / "photo.png")
    inputs = INPUTS[name](tmp_path / "photo.png")
    ours, theirs = pipelines(folder)
    assert_same_labels(ours(inputs), theirs(inputs))


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_batches_give_what_pictures_give_alone(folder, batch_size):
    ours, theirs = pipelines(folder)
    together = ours(PHOTOS, batch_size=batch_size)
    assert_same_labels(together, [ours(picture) for picture in PHOTOS])
    assert_same_labels(together, theirs(PHOTOS, batch_size=batch_size))
    made_for_it = npconv.pipeline("image-classification", model=folder, dtype="float64", batch_size=batch_size)
    assert_same_labels(made_for_it(PHOTOS), together)


@pytest.mark.parametrize("top_k", [1, 7, 100])
@pytest.mark.parametrize("function", [None, "softmax", "sigmoid", "none"])
def test_how_many_classes_and_what_makes_scores(convnext, top_k, function):
    """Given to the call or to the pipeline."""
    options = {"top_k": top_k, "function_to_apply": function}
    ours, theirs = pipelines(convnext)
    found = ours(PHOTOS[:2], **options)
    assert {len(labels) for labels in found} == {min(top_k, 7)}
    assert_same_labels(found, theirs(PHOTOS[:2], **options))
    set_so = npconv.pipeline("image-classification", model=convnext, dtype="float64", **options)
    assert_same_labels(set_so(PHOTOS[:2]), found)


@pytest.mark.parametrize("problem_type", ["regression", "single_label_classification", "multi_label_classification"])
def test_the_problem_type_chooses_what_makes_scores(tmp_path, problem_type):
    ours, theirs = pipelines(save(tmp_path, "convnext", problem_type=problem_type))
    assert_same_labels(ours(PHOTOS), theirs(PHOTOS))


@EACH_CLASSIFIER
def test_one_class_is_a_sigmoid(tmp_path, family):
    ours, theirs = pipelines(save(tmp_path, family, id2label={0: "cat"}, label2id={"cat": 0}))
    assert_same_labels(ours(PHOTOS), theirs(PHOTOS))


class Photos(torch.utils.data.Dataset):
    """The pictures as a data set."""

    def __len__(self):
        return len(PHOTOS)

    def __getitem__(self, index):
        return PHOTOS[index]


STREAMS = {"data set": Photos, "generator": lambda: (picture for picture in PHOTOS)}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_streams_of_pictures(convnext, name, batch_size):
    ours, theirs = pipelines(convnext)
    found = ours(STREAMS[name](), batch_size=batch_size, top_k=2)
    assert not isinstance(found, list)  # read as it goes on
    expected = list(theirs(STREAMS[name](), batch_size=batch_size, top_k=2))
    assert_same_labels(list(found), expected)


def test_a_loaded_model_with_and_without_its_processor(folder):
    model = npconv.AutoModelForImageClassification.from_pretrained(folder, dtype="float64")
    processor = npconv.AutoImageProcessor.from_pretrained(folder)
    expected = pipelines(folder)[1](PHOTOS)
    for options in ({}, {"image_processor": processor}, {"feature_extractor": processor}):
        assert_same_labels(npconv.pipeline("image-classification", model=model, **options)(PHOTOS), expected)


DEVICES = [{}, {"device": -1}, {"device": "cpu"}, {"device": torch.device("cpu")}]


@pytest.mark.parametrize("options", DEVICES, ids=str)
@pytest.mark.parametrize("task", ["image-classification", "image-feature-extraction"])
def test_what_a_pipeline_says_of_itself(convnext, options, task):
    ours, theirs = pipelines(convnext, task, **options)
    assert ours.task == theirs.task == task
    assert str(ours.device) == str(theirs.device) == "cpu"
    assert type(ours).__name__ == type(theirs).__name__
    assert type(ours.image_processor).__name__ == "ConvNextImageProcessor"
    assert ours.model.config.model_type == theirs.model.config.model_type


def test_the_model_and_the_processor_of_a_pipeline_do_what_it_does(folder):
    ours, theirs = pipelines(folder)
    prepared = ours.preprocess(PHOTOS[0])
    expected = theirs.preprocess(PHOTOS[0])
    assert list(prepared) == list(expected)
    np.testing.assert_array_equal(prepared["pixel_values"], expected["pixel_values"])
    logits = ours.model(**prepared).logits
    with torch.no_grad():
        assert parity.distance(logits, theirs.model(**expected).logits.numpy()) <= twins.CLOSE
    best = ours(PHOTOS[0], top_k=1)[0]["label"]
    assert best == ours.model.config.id2label[int(logits.argmax())]


@EACH_FAMILY
@pytest.mark.parametrize("batch_size", [1, 2])
def test_features_of_bare_models(tmp_path, family, batch_size):
    ours, theirs = pipelines(save(tmp_path, family, "model"), "image-feature-extraction", batch_size=batch_size)
    pools = [False] if family == "cvt" else [False, True]  # of CvT transformers pools nothing
    for call in (partial(dict, pool=pool) for pool in pools):
        for found, expected in zip(ours(PHOTOS[:3], **call()), theirs(PHOTOS[:3], **call()), strict=True):
            assert type(found) is type(expected) is list
            assert parity.distance(np.array(found), np.array(expected)) <= twins.CLOSE
        assert np.shape(ours(PHOTOS[0], **call())) == np.shape(theirs(PHOTOS[0], **call()))


BAD_CALLS = [{"function_to_apply": "of nobody"}, {"no_such_option": 1}]


@pytest.mark.parametrize("options", BAD_CALLS, ids=str)
def test_options_that_mean_nothing_are_refused_by_both(convnext, options):
    for pipe in pipelines(convnext):
        with pytest.raises((ValueError, TypeError)):
            pipe(PHOTOS[0], **options)


@pytest.mark.parametrize("bad", ["no such file.png", 3, [None]], ids=str)
def test_inputs_that_are_no_pictures_are_refused_by_both(convnext, bad):
    for pipe in pipelines(convnext):
        with pytest.raises((ValueError, TypeError, OSError)):
            pipe(bad)


def test_a_task_that_is_none_is_refused_by_both(convnext):
    for library in (npconv, transformers):
        with pytest.raises((KeyError, ValueError)):
            library.pipeline("image-classifying", model=convnext)
