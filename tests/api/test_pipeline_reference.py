"""The same calls of ``pipeline`` in both libraries, on one model that npconv wrote."""

import io

import numpy as np
import pytest
from PIL import Image
from support.builders import CLASSIFIERS, CONFIGS, filled_model
from support.picture_server import picture_server

import npconv
from npconv.api.classification import ImageClassificationPipeline

pytestmark = pytest.mark.reference

#: Float32 in another order of sums, through a few layers: of scores from 0 to 1, and of logits, which are larger, and
#: sums of terms that cancel. Processors differ: 2e-6 was seen on one and 7e-6 on another.
ABSOLUTE, RELATIVE = 1e-6, 3e-5


def photo(seed=0, size=(50, 40)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


PHOTOS = [photo(0), photo(1, (30, 70)), photo(2)]


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    config = npconv.ConvNextV2Config.from_dict(CONFIGS["convnextv2"].to_dict())
    config.id2label = dict(enumerate(["cat", "dog", "emu", "fox"]))
    filled_model(CLASSIFIERS["convnextv2"], config).save_pretrained(folder)
    npconv.ConvNextImageProcessor(size={"shortest_edge": 24}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def theirs(transformers, folder):
    """Their pipeline; their other processor resizes by torchvision, which differs in the last bits."""
    processor = transformers.ConvNextImageProcessorPil.from_pretrained(folder)
    return transformers.pipeline("image-classification", model=folder, image_processor=processor)


@pytest.fixture(scope="module")
def ours(folder):
    return npconv.pipeline("image-classification", model=folder)


def assert_same(found, expected):
    """Labels and scores, of one picture or of several, are the same."""
    if isinstance(expected, dict):
        assert found["label"] == expected["label"]
        assert found["score"] == pytest.approx(expected["score"], rel=RELATIVE, abs=ABSOLUTE)
        return
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


CALLS = {
    "one": lambda pipe: pipe(PHOTOS[0]),
    "an array": lambda pipe: pipe(np.asarray(PHOTOS[0])),
    "a list": lambda pipe: pipe(PHOTOS),
    "a list of one": lambda pipe: pipe(PHOTOS[:1]),
    "batches": lambda pipe: pipe(PHOTOS, batch_size=2),
    "a generator": lambda pipe: list(pipe(picture for picture in PHOTOS)),
    "a generator in batches": lambda pipe: list(pipe((picture for picture in PHOTOS), batch_size=2)),
    "top_k": lambda pipe: pipe(PHOTOS[0], top_k=2),
    "a large top_k": lambda pipe: pipe(PHOTOS, top_k=2000),
    "sigmoid": lambda pipe: pipe(PHOTOS[0], function_to_apply="sigmoid"),
    "no function": lambda pipe: pipe(PHOTOS[0], function_to_apply="none"),
    "capitals": lambda pipe: pipe(PHOTOS[0], function_to_apply="SIGMOID"),
    "timeout": lambda pipe: pipe(PHOTOS[0], timeout=5, num_workers=0),
    "predict": lambda pipe: pipe.predict(PHOTOS),
    "transform": lambda pipe: pipe.transform(PHOTOS[0]),
    "its parts": lambda pipe: pipe.postprocess(pipe.forward(pipe.preprocess(PHOTOS[1])), top_k=3),
    "its parts by their inner name": lambda pipe: pipe.postprocess(pipe._forward(pipe.preprocess(PHOTOS[1])), "none"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_gives_the_same(ours, theirs, call):
    if call == "its parts by their inner name":
        torch = pytest.importorskip("torch")
        with torch.no_grad():
            expected = CALLS[call](theirs_with_words(theirs))
    else:
        expected = CALLS[call](theirs)
    assert_same(CALLS[call](ours), expected)


def theirs_with_words(pipe):
    """Return their pipeline, whose ``postprocess`` takes a function by its member of an enumeration only."""
    functions = pytest.importorskip("transformers.pipelines.image_classification").ClassificationFunction

    class Words:
        preprocess, _forward = pipe.preprocess, pipe._forward

        @staticmethod
        def postprocess(outputs, function):
            return pipe.postprocess(outputs, functions(function))

    return Words


def test_their_function_by_its_member(ours, theirs):
    functions = pytest.importorskip("transformers.pipelines.image_classification").ClassificationFunction
    for function in functions:
        expected = theirs(PHOTOS[0], function_to_apply=function)
        assert_same(ours(PHOTOS[0], function_to_apply=function), expected)
        inputs = theirs.preprocess(PHOTOS[0])
        expected = theirs.postprocess(theirs.forward(inputs), function_to_apply=function)
        assert_same(ours.postprocess(ours.forward(ours.preprocess(PHOTOS[0])), function), expected)


def test_tensors_are_pictures(ours, theirs):
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in PHOTOS]
    assert_same(ours(tensors[0]), theirs(tensors[0]))
    assert_same(ours(tensors, batch_size=2), theirs(tensors, batch_size=2))


@pytest.mark.parametrize("batch_size", [1, 2])
def test_data_sets_of_torch(ours, theirs, batch_size):
    data = pytest.importorskip("torch.utils.data")
    key_dataset = pytest.importorskip("transformers.pipelines.pt_utils").KeyDataset

    class Photos(data.Dataset):
        def __len__(self):
            return len(PHOTOS)

        def __getitem__(self, place):
            return PHOTOS[place]

    class Rows(Photos):
        def __getitem__(self, place):
            return {"image": PHOTOS[place], "label": place}

    for pictures in (Photos(), key_dataset(Rows(), "image"), data.Subset(Photos(), [2, 0])):
        expected = theirs(pictures, batch_size=batch_size)
        found = ours(pictures, batch_size=batch_size)
        assert len(found) == len(pictures)  # theirs is the number of batches
        assert_same(list(found), list(expected))


def test_a_picture_behind_a_url(ours, theirs, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    stream = io.BytesIO()
    PHOTOS[0].save(stream, "PNG")
    with picture_server({"/photo.png": stream.getvalue()}) as server:
        server.redirects["/there"] = "/photo.png"
        for path in ("/photo.png", "/there"):
            assert_same(ours(server.url + path, timeout=9), theirs(server.url + path, timeout=9))


@pytest.mark.parametrize("device", [0, -1, "cpu", None])
def test_devices(transformers, folder, theirs, device):
    expected = transformers.pipeline(
        "image-classification", model=folder, image_processor=theirs.image_processor, device=device
    )
    if expected.device.type != "cpu":
        pytest.skip("on a machine with a GPU both go there")
    if device == 0:
        with pytest.warns(npconv.NpconvWarning, match="goes on with the CPU"):
            found = npconv.pipeline("image-classification", model=folder, device=device)
    else:
        found = npconv.pipeline("image-classification", model=folder, device=device)
    assert str(found.device) == str(expected.device)
    assert_same(found(PHOTOS[0]), expected(PHOTOS[0]))
    torch = pytest.importorskip("torch")
    given = {"device": torch.device("cpu"), "dtype": torch.float64, "use_fast": False}
    found = npconv.pipeline("image-classification", model=folder, **given)
    assert (found.device, found.dtype) == ("cpu", np.float64)


def test_made_directly(transformers, folder, theirs):
    given = {"top_k": 2, "batch_size": 2, "device": -1, "num_workers": 0, "binary_output": False}
    given |= {"task": "image-classification", "tokenizer": None, "feature_extractor": None}
    expected = transformers.ImageClassificationPipeline(
        model=theirs.model, image_processor=theirs.image_processor, **given
    )
    found = ImageClassificationPipeline(
        model=npconv.AutoModelForImageClassification.from_pretrained(folder),
        image_processor=npconv.AutoImageProcessor.from_pretrained(folder),
        **given,
    )
    assert (found.task, found.tokenizer) == (expected.task, expected.tokenizer)
    assert_same(found(PHOTOS), expected(PHOTOS))


@pytest.mark.parametrize("source", ["ours", "theirs"])
def test_each_reads_what_the_other_saved(transformers, ours, theirs, source, tmp_path):
    (ours if source == "ours" else theirs).save_pretrained(tmp_path)
    processor = transformers.ConvNextImageProcessorPil.from_pretrained(tmp_path)
    expected = transformers.pipeline("image-classification", model=str(tmp_path), image_processor=processor)
    assert_same(npconv.pipeline("image-classification", model=tmp_path)(PHOTOS), expected(PHOTOS))


@pytest.mark.parametrize("options", [{}, {"pool": True}])
def test_features_in_their_shapes(transformers, folder, theirs, options):
    expected = transformers.pipeline("image-feature-extraction", model=folder, image_processor=theirs.image_processor)
    found = npconv.pipeline("image-feature-extraction", model=folder)
    larger = {"image_processor_kwargs": {"size": {"shortest_edge": 48}}}
    for call in (
        lambda pipe: pipe(PHOTOS[0], **options),
        lambda pipe: pipe(PHOTOS, **options),
        lambda pipe: pipe(PHOTOS, batch_size=2, **options),
        lambda pipe: list(pipe((picture for picture in PHOTOS), **options)),
        lambda pipe: pipe(PHOTOS[0], **options, **larger),
        lambda pipe: pipe.postprocess(pipe.forward(pipe.preprocess(PHOTOS[0])), **options),
    ):
        one, other = call(found), call(expected)
        assert type(one) is type(other) is list
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
    for tensors in (True, "pt"):
        one, other = (pipe(PHOTOS[0], return_tensors=tensors, **options) for pipe in (found, expected))
        np.testing.assert_allclose(np.asarray(one), other.numpy(), rtol=0, atol=1e-5 * float(other.abs().max()))
    assert type(one) is type(other)  # who asks for "pt" gets tensors
    for one, other in zip(
        *(pipe(PHOTOS, return_tensors="pt", batch_size=2) for pipe in (found, expected)), strict=True
    ):
        assert (type(one), one.shape, one.dtype) == (type(other), other.shape, other.dtype)
