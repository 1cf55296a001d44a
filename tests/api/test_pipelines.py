import math

import numpy as np
import pytest
from builders import CLASSIFIERS, CONFIGS, filled_model
from PIL import Image

import npconv
from npconv import ConfigError, ImageError, InputError
from npconv.api.pipelines import best_labels


@pytest.fixture
def classify(tmp_path):
    filled_model(CLASSIFIERS["convnextv2"], CONFIGS["convnextv2"]).save_pretrained(tmp_path)
    npconv.ConvNextImageProcessor(size={"shortest_edge": 24}).save_pretrained(tmp_path)
    return npconv.pipeline("image-classification", model=tmp_path)


def photo(seed=0, size=(50, 40)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def test_one_picture_gives_labels_best_first(classify):
    result = classify(photo())
    assert [set(entry) for entry in result] == [{"label", "score"}] * 4
    scores = [entry["score"] for entry in result]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1)
    assert all(type(score) is float for score in scores)


def test_paths_pictures_arrays_and_files_are_the_same(classify, tmp_path):
    photo().save(tmp_path / "photo.png")
    expected = classify(photo())
    assert classify(tmp_path / "photo.png") == expected
    assert classify(str(tmp_path / "photo.png")) == expected
    assert classify(np.asarray(photo())) == expected
    with open(tmp_path / "photo.png", "rb") as file:
        assert classify(file) == expected


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_many_pictures_in_batches_keep_their_order(classify, batch_size):
    photos = [photo(seed) for seed in range(5)]
    results = classify(photos, batch_size=batch_size, top_k=1)
    assert [[entry["label"] for entry in result] for result in results] == [
        [classify(one, top_k=1)[0]["label"]] for one in photos
    ]


def test_an_iterator_is_read_as_it_goes_on(classify):
    taken = []

    def camera():
        for seed in range(100):
            taken.append(seed)
            yield photo(seed)

    results = classify(camera(), batch_size=2)
    assert taken == []
    next(results)
    assert taken == [0, 1]


def test_exif_orientation_is_applied(classify, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo().rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    assert classify(tmp_path / "turned.png") == classify(photo())


def test_the_function_follows_the_problem():
    logits = np.array([0.5, -1.0, 2.0])
    sigmoid = 1 / (1 + math.exp(-2.0))
    softmax = math.exp(2.0) / sum(math.exp(z) for z in logits)

    def best(problem_type=None, **options):
        config = npconv.ConvNextConfig(num_labels=3, problem_type=problem_type)
        return best_labels(logits, config, 1, **options)[0]["score"]

    assert best() == pytest.approx(softmax)
    assert best("multi_label_classification") == pytest.approx(sigmoid)
    assert best("regression") == 2.0
    assert best(function_to_apply="none") == 2.0
    assert best(function_to_apply="sigmoid") == pytest.approx(sigmoid)
    one = npconv.ConvNextConfig(num_labels=1)
    assert best_labels(np.array([2.0]), one)[0]["score"] == pytest.approx(sigmoid)


def test_extreme_logits_give_finite_scores():
    config = npconv.ConvNextConfig(num_labels=2)
    for function in ("softmax", "sigmoid"):
        scores = best_labels(np.array([-1e4, 1e4], np.float32), config, None, function)
        assert [entry["score"] for entry in scores] == [1.0, 0.0]


def test_a_model_that_is_loaded_already(classify):
    again = npconv.pipeline(model=classify.model, image_processor=classify.image_processor)
    assert again(photo()) == classify(photo())
    with pytest.raises(InputError, match="expected an image_processor"):
        npconv.pipeline(model=classify.model)


def test_what_cannot_be_done_is_refused(classify, tmp_path):
    with pytest.raises(InputError, match="expected task 'image-classification', got 'fill-mask'"):
        npconv.pipeline("fill-mask")
    with pytest.raises(InputError, match="batch_size"):
        npconv.pipeline(model=classify.model, image_processor=classify.image_processor, batch_size=0)
    with pytest.raises(InputError, match="top_k"):
        classify(photo(), top_k=0)
    with pytest.raises(InputError, match="got 'relu'"):
        classify(photo(), function_to_apply="relu")
    with pytest.raises(ImageError, match=r"missing\.png"):
        classify(tmp_path / "missing.png")
    with pytest.raises(ConfigError, match="num_labels 0"):
        best_labels(np.zeros(3), npconv.ConvNextConfig(num_labels=0))
