"""``pipeline("image-feature-extraction")``: what transformers gives for the same call, and several features by name."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from support.builders import BARE_MODELS, CLASSIFIERS, CONFIGS, FAMILIES, filled_model

import npconv
from npconv import ImageError, InputError, WeightsError
from npconv.files.safetensors import load_file, save_file

SIZE = {"shortest_edge": 24}


def photo(seed=0, size=(50, 40)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def assert_close(found, expected):
    """Float32 in another order of sums: each of two engines may be 1.4e-5 off the float64 logits of these models."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5 * np.abs(expected).max())


def save(folder, family):
    """Save a classifier of a family with its preprocessing; transformers makes no CvT whose last stages are shorter."""
    config = (
        npconv.CvtConfig(**{**CONFIGS["cvt"].to_dict(), "depth": [1, 2, 3]}) if family == "cvt" else CONFIGS[family]
    )
    filled_model(CLASSIFIERS[family], config).save_pretrained(folder)
    npconv.ConvNextImageProcessor(size=SIZE).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    return save(tmp_path_factory.mktemp("model"), request.param)


@pytest.fixture(scope="module")
def convnext(tmp_path_factory):
    return save(tmp_path_factory.mktemp("convnext"), "convnext")


def test_the_last_map_and_the_pooled_features(folder):
    extract = npconv.pipeline("image-feature-extraction", model=folder)
    processor = npconv.AutoImageProcessor.from_pretrained(folder)
    classifier = npconv.AutoModelForImageClassification.from_pretrained(folder)
    output = classifier(processor(photo()).pixel_values, output_hidden_states=True)
    found = extract(photo(), return_tensors="np")
    assert found.shape == (1, *output.hidden_states[-1].shape[1:])
    assert_close(found, output.hidden_states[-1])
    assert extract(photo()) == found.tolist()
    pooled = extract(photo(), pool=True, return_tensors=True)
    assert pooled.shape == (1, found.shape[1])
    weight, bias = (classifier.params["classifier"][name] for name in ("weight", "bias"))
    assert_close(pooled @ weight.T + bias, output.logits)


def test_features_by_their_names(folder):
    extract = npconv.pipeline("image-feature-extraction", model=folder, return_tensors="np")
    names = [*extract.model.config.stage_names, "pooled"]
    found = extract(photo(), features=names)
    assert list(found) == names
    np.testing.assert_array_equal(found["pooled"], extract(photo(), pool=True))
    np.testing.assert_array_equal(found[names[-2]], extract(photo()))
    assert found["stage1"].shape[2] > found["stage3"].shape[2]
    with pytest.raises(InputError, match=r"expected features from .*stage1.*pooled; got 'stage9'"):
        extract(photo(), features=["stage9"])


def test_many_pictures_are_a_list_or_an_iterator(convnext):
    extract = npconv.pipeline("image-feature-extraction", model=convnext, batch_size=2, return_tensors="np", pool=True)
    photos = [photo(seed) for seed in range(3)]
    rows = extract(photos)
    assert [row.shape for row in rows] == [(1, 14)] * 3
    for row, one in zip(rows, photos, strict=True):
        assert_close(row, extract(one))
    taken = []
    results = extract(taken.append(seed) or photo(seed) for seed in range(9))
    assert taken == []
    next(results)
    assert taken == [0, 1]
    assert len(list(results)) == 8


@pytest.mark.parametrize("make", ["processes", "threads"])
def test_workers_give_the_same(convnext, make):
    photos = [photo(seed) for seed in range(5)]
    options = {"model": convnext, "batch_size": 2, "return_tensors": "np"}
    expected = npconv.pipeline("image-feature-extraction", **options)(photos)
    with (
        ThreadPoolExecutor(2) as threads,
        npconv.pipeline(
            "image-feature-extraction", workers=2 if make == "processes" else threads, **options
        ) as extract,
    ):
        for found, one in zip(extract(photos), expected, strict=True):
            assert_close(found, one)


def test_arguments_of_the_image_processor(convnext):
    extract = npconv.pipeline("image-feature-extraction", model=convnext, return_tensors="np")
    larger = extract(photo(), image_processor_kwargs={"size": {"shortest_edge": 48}})
    assert larger.shape[2] > extract(photo()).shape[2]


def test_pictures_of_several_sizes_keep_them(tmp_path):
    save(tmp_path, "convnext")
    npconv.ConvNextImageProcessor(do_resize=False).save_pretrained(tmp_path)
    extract = npconv.pipeline("image-feature-extraction", model=tmp_path, batch_size=3, return_tensors="np")
    found = extract([photo(0), photo(1, (30, 20)), photo(2)])
    assert [array.shape[2:] for array in found] == [(5, 6), (2, 3), (5, 6)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_is_loaded_already(family):
    processor = npconv.ConvNextImageProcessor(size=SIZE)
    model = filled_model(BARE_MODELS[family], CONFIGS[family])
    extract = npconv.pipeline("image-feature-extraction", model=model, image_processor=processor, return_tensors="np")
    output = model(processor(photo()).pixel_values)
    np.testing.assert_array_equal(extract(photo()), output.last_hidden_state)
    if family == "cvt":  # its pooled features are those that its classifier makes
        with pytest.raises(InputError, match="expected a model with pooled features, got a CvtModel"):
            extract(photo(), pool=True)
    else:
        np.testing.assert_array_equal(extract(photo(), pool=True), output.pooler_output)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_folder_of_a_bare_model(tmp_path, family):
    """Of CvT it lacks the last norm, which only a classifier has."""
    model = filled_model(BARE_MODELS[family], CONFIGS[family])
    model.save_pretrained(tmp_path)
    processor = npconv.ConvNextImageProcessor(size=SIZE)
    processor.save_pretrained(tmp_path)
    extract = npconv.pipeline("image-feature-extraction", model=tmp_path, return_tensors="np")
    assert_close(extract(photo()), model(processor(photo()).pixel_values).last_hidden_state)


def test_scores_are_no_features(convnext):
    model = npconv.AutoModelForImageClassification.from_pretrained(convnext)
    processor = npconv.AutoImageProcessor.from_pretrained(convnext)
    extract = npconv.pipeline("image-feature-extraction", model=model, image_processor=processor)
    assert np.shape(extract(photo())) == (1, 14, 3, 3)
    with pytest.raises(InputError, match="and num_labels=0"):
        extract(photo(), pool=True)


def test_what_cannot_be_done_is_refused(convnext, tmp_path):
    extract = npconv.pipeline("image-feature-extraction", model=convnext)
    with pytest.raises(InputError, match=r"expected return_tensors to be one of 'pt', .* got 'torch'"):
        extract(photo(), return_tensors="torch")
    with pytest.raises(ImageError, match=r"missing\.png"):
        extract(tmp_path / "missing.png")
    tensors = dict(load_file(convnext / "model.safetensors"))
    del tensors["convnext.layernorm.weight"]
    broken = save(tmp_path, "convnext")
    save_file(tensors, broken / "model.safetensors")
    with pytest.raises(
        WeightsError, match=r"the file lacks 'convnext.layernorm.weight'.*does the configuration belong"
    ):
        npconv.pipeline("image-feature-extraction", model=broken)


@pytest.mark.reference
@pytest.mark.parametrize("pool", [False, True])
def test_transformers_gives_the_same(folder, pool):
    transformers = pytest.importorskip("transformers")
    processor = transformers.ConvNextImageProcessorPil.from_pretrained(folder)
    theirs = transformers.pipeline("image-feature-extraction", model=str(folder), image_processor=processor)
    ours = npconv.pipeline("image-feature-extraction", model=folder)
    photos = [photo(0), photo(1, (30, 70))]
    if pool and theirs.model.config.model_type == "cvt":
        with pytest.raises(ValueError, match="No pooled output was returned"):  # ours gives what the classifier gets
            theirs(photos[0], pool=True)
        return
    for batch_size in (1, 2):
        expected = theirs(photos, pool=pool, batch_size=batch_size)
        found = ours(photos, pool=pool, batch_size=batch_size)
        assert type(found) is list
        assert np.shape(found) == np.shape(expected)
        assert_close(found, expected)
    tensor = theirs(photos[0], pool=pool, return_tensors=True)
    assert_close(ours(photos[0], pool=pool, return_tensors="np"), tensor.numpy())
