import base64
import functools
import io
import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from support.builders import CLASSIFIERS, CONFIGS, filled_model

import npconv
from npconv import ConfigError, ImageError, InputError
from npconv.api.classification import best_labels
from npconv.workers.pool import WorkerError


def save(folder):
    """Write a model whose classes have names, with an image processor."""
    config = npconv.ConvNextV2Config.from_dict(CONFIGS["convnextv2"].to_dict())
    config.id2label = dict(enumerate(["cat", "dog", "emu", "fox"]))
    filled_model(CLASSIFIERS["convnextv2"], config).save_pretrained(folder)
    npconv.ConvNextImageProcessor(size={"shortest_edge": 24}).save_pretrained(folder)


@pytest.fixture
def classify(tmp_path):
    save(tmp_path)
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
    made = filled_model(CLASSIFIERS["convnextv2"], CONFIGS["convnextv2"])
    with pytest.raises(InputError, match="expected an image_processor beside a model that was made and not loaded"):
        npconv.pipeline(model=made)


def test_what_cannot_be_done_is_refused(classify, tmp_path):
    with pytest.raises(
        InputError, match="expected task 'image-classification' or 'image-feature-extraction', got 'fill-mask'"
    ):
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


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """A pipeline of two workers, and the same without them."""
    folder = tmp_path_factory.mktemp("model")
    save(folder)
    with npconv.pipeline(model=folder, batch_size=2, workers=2) as shared:
        yield shared, npconv.pipeline(model=folder, batch_size=2), folder


def assert_same(found, expected):
    """Labels and scores are the same, but for float32 sums in another order where threads share a batch."""
    assert len(found) == len(expected)
    for row, expected_row in zip(found, expected, strict=True):
        assert [entry["label"] for entry in row] == [entry["label"] for entry in expected_row]
        assert [entry["score"] for entry in row] == pytest.approx([entry["score"] for entry in expected_row], abs=1e-6)


def test_few_pictures_start_no_workers(workers):
    shared, alone, _ = workers
    assert shared(photo()) == alone(photo())
    assert shared([photo(1), photo(2)]) == alone([photo(1), photo(2)])
    assert shared([]) == []
    assert shared._pool is None


def test_workers_give_the_same_in_the_same_order(workers, tmp_path, monkeypatch):
    shared, alone, _ = workers
    monkeypatch.chdir(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(4).save("turned.png", exif=exif)
    pictures = [
        photo(0),
        "turned.png",
        tmp_path / "turned.png",
        Image.open("turned.png"),
        np.asarray(photo(3)),
        photo(5),
    ]
    pictures += [Image.open("turned.png").convert("P"), photo(6, (31, 77))]
    with open("turned.png", "rb") as file, open("turned.png", "rb") as again:
        found = shared([*pictures, file])
        expected = alone([*pictures, again])
    assert_same(found, expected)
    assert len(shared.executor().process_ids()) == 2


def test_an_iterator_is_read_a_bounded_way_ahead_of_workers(workers):
    shared, _, _ = workers
    read = []

    def camera():
        for seed in range(60):
            read.append(seed)
            yield photo(seed)

    results = shared(camera(), top_k=1)
    next(results)
    assert len(read) <= 2 * 2 * 2  # pictures in a batch, batches for each worker, workers
    assert len(list(results)) == 59


def test_errors_come_out_of_workers(workers, tmp_path):
    shared, _, _ = workers
    with pytest.raises(ImageError, match=r"missing\.png"):
        shared([photo(), photo(), tmp_path / "missing.png"])
    with pytest.raises(InputError, match="top_k"):
        shared([photo()] * 3, top_k=0)


def test_closed_workers_are_started_anew(workers):
    shared, _, _ = workers
    expected = shared([photo()] * 3)
    shared.close()
    assert shared([photo()] * 3) == expected


def test_any_executor_can_do_the_work(workers):
    _, alone, folder = workers
    pictures = [photo(seed) for seed in range(5)]
    with ThreadPoolExecutor(2) as executor:
        others = npconv.pipeline(model=folder, workers=executor, batch_size=2)
        assert_same(others(pictures), alone(pictures))


def test_a_loaded_model_cannot_be_shared(classify):
    with pytest.raises(InputError, match="got a loaded one"):
        npconv.pipeline(model=classify.model, image_processor=classify.image_processor, workers=2)


def test_a_missing_model_is_refused_before_workers_start(tmp_path):
    with pytest.raises(npconv.ModelNotFoundError):
        npconv.pipeline(model=tmp_path / "nothing", workers=2)


def test_the_pipeline_has_defaults_of_its_own(tmp_path, classify):
    classify.model.save_pretrained(tmp_path)
    classify.image_processor.save_pretrained(tmp_path)
    raw = npconv.pipeline(model=tmp_path, top_k=2, function_to_apply="none", feature_extractor=tmp_path)
    assert [len(raw(photo())), len(raw(photo(), top_k=None)), len(raw(photo(), top_k=1))] == [2, 4, 1]
    assert raw(photo()) == classify(photo(), top_k=2, function_to_apply="none")
    assert raw(inputs=photo()) == raw(images=photo()) == raw(photo())
    np.testing.assert_allclose(sum(e["score"] for e in raw(photo(), top_k=None, function_to_apply="softmax")), 1)


def test_what_is_no_picture_is_refused_at_once(classify):
    for nothing in (None, 3, {"a": 1}):
        with pytest.raises(InputError, match="expected a picture or an iterable of pictures"):
            classify(nothing)
    with pytest.raises(InputError, match="array of one picture"):
        classify(np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(InputError, match="batch_size of at least 1, got -1"):
        classify([photo()], batch_size=-1)
    with pytest.raises(InputError, match="expected no dtype beside a loaded model"):
        npconv.pipeline(model=classify.model, image_processor=classify.image_processor, dtype="float64")


def test_the_bytes_of_a_file_are_one_picture(classify, tmp_path):
    photo().save(tmp_path / "photo.png")
    assert classify((tmp_path / "photo.png").read_bytes()) == classify(photo())


def test_the_engine_is_the_fast_one_where_it_can_run(tmp_path, classify):
    classify.model.save_pretrained(tmp_path)
    classify.image_processor.save_pretrained(tmp_path)
    for dtype, engine in [("float32", "fast"), (np.float32, "fast"), ("float64", "explicit"), ("auto", "explicit")]:
        assert npconv.pipeline(model=tmp_path, dtype=dtype).model.engine == engine


def test_pictures_as_text(classify, tmp_path):
    photo().save(tmp_path / "photo.png")
    text = base64.b64encode((tmp_path / "photo.png").read_bytes()).decode()
    expected = classify(photo())
    assert classify(text) == classify(f"data:image/png;base64,{text}") == expected
    extract = npconv.pipeline("image-feature-extraction", model=tmp_path)
    assert extract(f"data:image/png;base64,{text}", pool=True) == extract(photo(), pool=True)
    with ThreadPoolExecutor(2) as executor, npconv.pipeline(model=tmp_path, workers=executor) as shared:
        results = shared([f"data:image/png;base64,{text}"] * 3)
    # A batch of several is another product of matrices than a picture alone: its last bits may be others.
    assert [[best["label"] for best in result] for result in results] == [[best["label"] for best in expected]] * 3
    scores = [best["score"] for best in expected]
    assert [[best["score"] for best in result] for result in results] == [pytest.approx(scores, rel=1e-5)] * 3


@pytest.mark.parametrize("task", ["image-classification", "image-feature-extraction"])
def test_a_budget_of_memory_by_call_and_by_pipeline(task, tmp_path, classify):
    photo(size=(300, 300)).save(tmp_path / "photo.png")
    tight = npconv.pipeline(task, model=tmp_path, max_memory=100_000)
    loose = npconv.pipeline(task, model=tmp_path)
    path = tmp_path / "photo.png"
    with open(path, "rb") as file:
        for source in (
            path,
            str(path),
            path.read_bytes(),
            file,
            Image.open(io.BytesIO(path.read_bytes())),
            [path],
            [path, path],
        ):
            for call in (tight, functools.partial(loose, max_memory=100_000)):
                with pytest.raises(ImageError, match=r"300 x 300 pixels of PNG take .* max_memory"):
                    call(source)
    assert tight(path, max_memory=10**7) == loose(path) == tight(photo(size=(300, 300)))  # pixels in memory are paid
    with pytest.raises(InputError, match="expected max_memory as a number of bytes"):
        loose(path, max_memory=0)


def test_a_batch_is_one_picture_unless_told(classify):
    taken = []
    results = classify(taken.append(seed) or photo(seed) for seed in range(5))
    next(results)
    assert (classify.batch_size, taken) == (1, [0])


def test_closing_ends_busy_workers_at_once_and_removes_their_folder(tmp_path, classify):
    shared = npconv.pipeline("image-classification", model=tmp_path, workers=2)
    pool = shared.executor()
    folder = pool.folder
    busy = pool.submit(time.sleep, 600)
    while not busy.running() or not pool.process_ids():
        time.sleep(0.01)
    shared.close()  # would wait for ten minutes
    assert isinstance(busy.exception(0), WorkerError)
    assert not folder.exists()
    with pytest.raises(RuntimeError):
        pool.submit(abs, 1)
    assert shared.executor() is not pool
    shared.close()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"task": ["image-classification"]}, "expected task 'image-classification' or"),
        ({"workers": "2"}, "expected workers to be a number of processes or an Executor, got '2'"),
        ({"workers": 2.5}, "expected workers to be a number of processes or an Executor, got 2.5"),
        ({"model_kwargs": ["dtype"]}, "expected model_kwargs to be a dict, got"),
        ({"pipeline_class": dict}, "expected pipeline_class to be a class made from a pipeline's, got <class 'dict'>"),
        ({"batch_size": "2"}, "expected a batch_size of at least 1, got '2'"),
        ({"batch_size": 2.0}, "expected a batch_size of at least 1, got 2.0"),
    ],
)
def test_arguments_of_another_kind(given, says):
    with pytest.raises(InputError) as caught:
        npconv.pipeline(**{"task": "image-classification", **given})
    assert str(caught.value).startswith(says)


def test_numbers_of_numpy_and_what_is_none(classify):
    picture = np.zeros((40, 40, 3), np.uint8)
    assert classify([picture] * 3, batch_size=np.int64(2), top_k=np.int64(2)) == classify(
        [picture] * 3, batch_size=2, top_k=2
    )
    for top_k in ("2", 2.0, [2]):
        with pytest.raises(InputError, match="expected top_k of at least 1 or None, got "):
            classify(picture, top_k=top_k)
