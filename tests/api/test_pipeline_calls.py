"""What people type at ``pipeline(...)`` and at what it gives, as with transformers."""

import io
import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from support.builders import BARE_MODELS, CLASSIFIERS, CONFIGS, filled_model
from support.picture_server import picture_server

import npconv
from npconv import InputError
from npconv.api.choices import choose_device
from npconv.api.classification import ImageClassificationPipeline
from npconv.api.extraction import ImageFeatureExtractionPipeline


def photo(seed=0, size=(50, 40)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model whose classes have names, with an image processor."""
    folder = tmp_path_factory.mktemp("model")
    config = npconv.ConvNextV2Config.from_dict(CONFIGS["convnextv2"].to_dict())
    config.id2label = dict(enumerate(["cat", "dog", "emu", "fox"]))
    filled_model(CLASSIFIERS["convnextv2"], config).save_pretrained(folder)
    npconv.ConvNextImageProcessor(size={"shortest_edge": 24}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def classify(folder):
    return npconv.pipeline("image-classification", model=folder)


@pytest.fixture(scope="module")
def extract(folder):
    return npconv.pipeline("image-feature-extraction", model=folder)


@pytest.fixture(scope="module")
def model(folder):
    return npconv.AutoModelForImageClassification.from_pretrained(folder)


class Pictures:
    """A data set that only counts and gives, as those of torch do; one that is asked for more says so by IndexError."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, place):
        return photo(range(self.size)[place])


class Endless(Pictures):
    """Gives a picture for any number, so its end is known by its length only."""

    def __getitem__(self, place):
        return photo(place)


class Column(Pictures):
    """A data set that iterates as well, as a column of ``datasets`` does."""

    def __iter__(self):
        return map(photo, range(self.size))


class OnlyGives:
    """A sequence of the oldest kind."""

    def __getitem__(self, place):
        return photo((0, 1, 2)[place])


class TestWhatIsGiven:
    @pytest.mark.parametrize("batch_size", [1, 2])
    @pytest.mark.parametrize("kind", [Pictures, Endless, Column])
    def test_a_data_set_gives_an_iterator_with_its_length(self, classify, kind, batch_size):
        expected = [classify(photo(seed)) for seed in range(3)]
        results = classify(kind(3), batch_size=batch_size)
        assert len(results) == 3
        assert next(results)[0]["label"] == expected[0][0]["label"]
        rest = [[entry["label"] for entry in result] for result in results]
        assert rest == [[entry["label"] for entry in result] for result in expected[1:]]

    def test_a_sequence_without_a_length_and_generators(self, classify):
        expected = classify([photo(seed) for seed in range(3)])
        assert list(classify(OnlyGives())) == expected
        assert list(classify(photo(seed) for seed in range(3))) == expected
        assert list(classify(map(photo, range(3)))) == expected
        assert classify(tuple(photo(seed) for seed in range(3))) == expected
        assert classify([]) == []
        assert list(classify(Pictures(0))) == []

    def test_a_data_set_is_read_as_it_goes_on(self, extract):
        read = []

        class Noted(Pictures):
            def __getitem__(self, place):
                read.append(place)
                return photo(place)

        results = extract(Noted(9), batch_size=2, pool=True)
        assert read == []
        next(results)
        assert read == [0, 1]

    def test_the_rows_of_a_table_are_no_pictures(self, classify):
        rows = [{"image": photo(), "label": 3}]
        with pytest.raises(InputError, match=r"got a dict of image, label; of a data set give the column"):
            classify(rows)
        with pytest.raises(InputError, match="got a dict of image, label"):
            next(classify(iter(rows)))

    def test_urls(self, classify, extract, monkeypatch):
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        stream = io.BytesIO()
        photo().save(stream, "PNG")
        with picture_server({"/photo.png": stream.getvalue()}) as server:
            url = f"{server.url}/photo.png"
            assert classify(url) == classify(url, timeout=30) == classify(photo())
            assert extract([url], pool=True) == [extract(photo(), pool=True)]
            for call in (classify, extract):
                with pytest.raises(npconv.ImageError, match=r"/silent: cannot be fetched \(not whole after"):
                    call(f"{server.url}/silent", timeout=0.1)
            with pytest.raises(npconv.ImageError, match=r"/missing\.png: cannot be fetched"):
                classify([url, f"{server.url}/missing.png"])
            hasty = npconv.pipeline(model=classify.model, timeout=0.1)
            with pytest.raises(npconv.ImageError, match="not whole after"):
                hasty(f"{server.url}/silent")
        with pytest.raises(InputError, match="expected timeout as a number of seconds"):
            classify(url, timeout=0)

    def test_what_is_said_of_a_call(self, classify):
        assert classify(photo(), num_workers=2, batch_size=2, timeout=1.0) == classify(photo())
        for words in ("SOFTMAX", "Softmax", "default", SimpleNamespace(value="softmax")):
            assert classify(photo(), function_to_apply=words) == classify(photo())
        assert classify(photo(), function_to_apply="None") == classify(photo(), function_to_apply="none")
        with pytest.raises(TypeError, match="unexpected keyword argument 'top_n'"):
            classify(photo(), top_n=3)
        assert classify.predict(photo()) == classify.transform(photo()) == classify(photo())


class TestDevices:
    @pytest.mark.parametrize("device", ["cpu", -1, "cpu:0"])
    def test_the_cpu_by_any_name(self, folder, model, device):
        assert npconv.pipeline("image-classification", model=folder, device=device).device == "cpu"
        assert npconv.pipeline("image-classification", model=folder, device=device).model.engine == "fast"
        assert choose_device(device) == "cpu"

    def test_a_number_is_the_gpu_where_there_is_one(self, folder, monkeypatch):
        monkeypatch.setattr("npconv.api.choices.device_module", lambda _: np)
        assert [choose_device(device) for device in (0, "cuda", "cuda:0")] == ["cuda"] * 3

        def none(_):
            raise npconv.UnavailableError("device 'cuda' needs CuPy")

        monkeypatch.setattr("npconv.api.choices.device_module", none)
        with pytest.warns(npconv.NpconvWarning, match=r"device=0: device 'cuda' needs CuPy; .* with the CPU") as warned:
            pipe = npconv.pipeline("image-classification", model=folder, device=0)
        assert (pipe.device, len(warned)) == ("cpu", 1)
        assert warned[0].filename == __file__
        assert choose_device("cuda:0") == "cuda"  # who says so means it

    def test_a_device_map_may_name_a_device(self, folder, monkeypatch):
        monkeypatch.setattr("npconv.api.choices.device_module", lambda _: np)
        monkeypatch.setattr("npconv.api.pipelines._of_name", lambda kind, name, processor, loading, settings: loading)
        for device_map in ("auto", None, "cpu", {"": "cpu"}):
            assert npconv.pipeline(model=folder, device_map=device_map).get("device", "cpu") == "cpu"
        for device_map in ("cuda", "cuda:0", 0, {"": 0}):
            assert npconv.pipeline(model=folder, device_map=device_map)["device"] == "cuda"
            assert npconv.pipeline(model=folder, device_map=device_map, device="cpu")["device"] == "cpu"

    def test_bfloat16_is_spoken_of_once(self, folder):
        with pytest.warns(npconv.NpconvWarning, match="NumPy has no bfloat16") as warned:
            assert npconv.pipeline(model=folder, torch_dtype="bfloat16").model.engine == "fast"
        assert len(warned) == 1

    def test_a_loaded_model_is_moved(self, folder, monkeypatch):
        moved = []
        model = npconv.AutoModelForImageClassification.from_pretrained(folder)
        monkeypatch.setattr("npconv.api.choices.device_module", lambda _: np)
        monkeypatch.setattr(type(model), "to", lambda _, device: moved.append(device), raising=False)
        npconv.pipeline("image-classification", model=model, device=-1)
        npconv.pipeline("image-classification", model=model)
        assert moved == []  # it is there
        npconv.pipeline("image-classification", model=model, device="cuda:0")
        ImageClassificationPipeline(model=model, device=0)
        assert moved == ["cuda", "cuda"]

    @pytest.mark.parametrize("device", ["gpu", "", 1.5, True, object()])
    def test_what_is_no_device_is_refused(self, folder, device):
        with pytest.raises(InputError, match="expected device"):
            npconv.pipeline("image-classification", model=folder, device=device)


class TestWhatMakesIt:
    def test_arguments_without_effect(self, folder, classify):
        pipe = npconv.pipeline(
            "image-classification",
            model=str(folder),
            framework="pt",
            use_fast=True,
            trust_remote_code=True,
            token=None,
            revision=None,
            config=None,
            device=None,
            tokenizer=None,
            feature_extractor=None,
            image_processor=None,
            batch_size=None,
            num_workers=2,
            binary_output=True,
            model_kwargs=None,
        )
        assert pipe(photo()) == classify(photo())
        assert pipe.batch_size == 1

    def test_arguments_of_the_model(self, folder, classify):
        pipe = npconv.pipeline(model=folder, torch_dtype="float64", model_kwargs={"low_cpu_mem_usage": True})
        assert pipe.dtype == pipe.torch_dtype == np.float64
        assert npconv.pipeline(model=folder, model_kwargs={"dtype": "float64"}).dtype == np.float64
        with pytest.raises(InputError, match="expected dtype once, got it in model_kwargs as well; leave one out"):
            npconv.pipeline(model=folder, dtype="float32", model_kwargs={"dtype": "float64"})
        config = npconv.AutoConfig.from_pretrained(folder)
        config.id2label = dict(enumerate("wxyz"))
        assert {e["label"] for e in npconv.pipeline(model=folder, config=config)(photo())} == set("wxyz")
        assert npconv.pipeline(model=folder, config=str(folder))(photo()) == classify(photo())

    def test_a_processor_by_any_name(self, folder, classify):
        processor = npconv.ConvNextImageProcessor(size={"shortest_edge": 48})
        for name in ("image_processor", "feature_extractor"):
            pipe = npconv.pipeline("image-classification", folder, **{name: processor})
            assert pipe.image_processor is pipe.feature_extractor is processor
            pipe = npconv.pipeline("image-classification", folder, **{name: str(folder)})
            assert pipe.image_processor.size == {"shortest_edge": 24}

    def test_the_task_of_a_model(self, folder, model, tmp_path):
        bare = filled_model(BARE_MODELS["convnextv2"], CONFIGS["convnextv2"])
        bare.save_pretrained(tmp_path)
        npconv.ConvNextImageProcessor(size={"shortest_edge": 24}).save_pretrained(tmp_path)
        bare = npconv.AutoModel.from_pretrained(tmp_path)
        for classifier in (folder, model):
            assert npconv.pipeline(model=classifier).task == "image-classification"
        for one in (tmp_path, bare):
            assert npconv.pipeline(model=one).task == "image-feature-extraction"
        assert npconv.pipeline().task == npconv.pipeline(None).task == "image-classification"
        assert type(npconv.pipeline(model=tmp_path, config=bare.config)) is ImageFeatureExtractionPipeline
        with pytest.raises(InputError, match="expected a model with a classifier for 'image-classification', got a C"):
            npconv.pipeline("image-classification", model=bare)

    def test_a_loaded_model_finds_its_processor(self, folder, model, classify, monkeypatch, tmp_path):
        found = npconv.pipeline("image-classification", model=model)(photo())
        assert [entry["label"] for entry in found] == [entry["label"] for entry in classify(photo())]
        assert npconv.pipeline(model=model, use_fast=True, device_map="auto", dtype="float32", config=model.config)
        assert model.name_or_path == str(folder)
        monkeypatch.chdir(folder)
        near = npconv.AutoModelForImageClassification.from_pretrained(os.curdir)
        weights = npconv.AutoModelForImageClassification.from_pretrained(folder / "model.safetensors")
        monkeypatch.chdir(tmp_path)
        for one in (near, weights):
            assert npconv.pipeline(model=one).image_processor.size == {"shortest_edge": 24}

    def test_an_embedded_model_finds_its_processor(self):
        embedded = npconv.AutoModelForImageClassification.from_pretrained("convnextv2-cifar10")
        assert embedded.name_or_path == "convnextv2-cifar10"
        assert vars(npconv.pipeline(model=embedded).image_processor) == vars(npconv.pipeline().image_processor)

    def test_made_directly(self, model, classify):
        processor = classify.image_processor
        pipe = ImageClassificationPipeline(
            model=model,
            image_processor=processor,
            feature_extractor=None,
            tokenizer=None,
            task="image-classification",
            framework="pt",
            top_k=1,
            device=None,
            batch_size=2,
            num_workers=0,
        )
        assert (pipe.batch_size, pipe.top_k, pipe.tokenizer) == (2, 1, None)
        assert pipe(photo())[0]["label"] == classify(photo())[0]["label"]
        assert ImageFeatureExtractionPipeline(model=model, feature_extractor=processor, pool=False)(photo())
        with pytest.raises(InputError, match=r"expected options from top_k, .*; got 'top_n'"):
            ImageClassificationPipeline(model=model, image_processor=processor, top_n=3)

    def test_a_model_that_is_for_something_else_is_refused_at_once(self, folder, model, classify):
        processor = classify.image_processor
        bare = npconv.AutoModel.from_config(model.config)
        with pytest.raises(InputError, match="expected a model with a classifier for 'image-classification', got a C"):
            ImageClassificationPipeline(bare, processor)
        headless = npconv.AutoModelForImageClassification.from_config(type(model.config)(num_labels=0))
        with pytest.raises(npconv.ConfigError, match="expected a model with classes"):
            ImageClassificationPipeline(headless, processor)
        for kind in (ImageClassificationPipeline, ImageFeatureExtractionPipeline):
            with pytest.raises(InputError, match="expected a loaded model, got str; pipeline"):
                kind(str(folder), processor)

    def test_a_class_of_ones_own(self, folder, classify):
        class Best(ImageClassificationPipeline):
            def preprocess(self, image, timeout=None, **arguments):
                return super().preprocess(image.rotate(180), timeout, **arguments)

            def postprocess(self, model_outputs, function_to_apply=None, top_k=5):
                return super().postprocess(model_outputs, top_k=1)[0]["label"]

        best = npconv.pipeline("image-classification", model=folder, pipeline_class=Best)
        expected = [classify(photo(seed).rotate(180))[0]["label"] for seed in range(3)]
        assert best([photo(seed) for seed in range(3)], batch_size=2) == expected

    def test_unknown_arguments_are_called_so(self, folder, model):
        with pytest.raises(InputError, match=r"unknown argument 'modle_kwargs'"):
            npconv.pipeline(model=folder, modle_kwargs={})
        with pytest.raises(InputError, match=r"unknown argument 'pool'"):  # of the other task
            npconv.pipeline("image-classification", model=folder, pool=True)
        with pytest.raises(InputError, match="expected no num_labels beside a loaded model; give them when loading it"):
            npconv.pipeline(model=model, num_labels=3)


class TestWhatItIs:
    def test_its_parts_in_a_chain(self, classify, folder):
        inputs = classify.preprocess(photo())
        assert inputs.pixel_values.shape == (1, 3, 24, 24)
        outputs = classify.forward(inputs)
        assert outputs.logits.shape == (1, 4)
        assert classify.postprocess(outputs) == classify(photo())
        assert classify.postprocess(outputs, top_k=2) == classify(photo(), top_k=2)
        assert classify.postprocess(classify._forward(inputs), "none") == classify(photo(), function_to_apply="none")
        of_its_own = npconv.pipeline(model=folder, top_k=2, function_to_apply="sigmoid")
        assert of_its_own.postprocess(of_its_own.forward(inputs)) == of_its_own(photo())

    @pytest.mark.parametrize("options", [{}, {"pool": True}, {"features": ["stem", "pooled"]}])
    def test_the_parts_of_features(self, extract, options):
        outputs = extract.forward(extract.preprocess(photo()))
        assert extract.postprocess(outputs, **options) == extract(photo(), **options)
        larger = extract.preprocess(photo(), size={"shortest_edge": 48})
        assert larger.pixel_values.shape == (1, 3, 48, 48)

    def test_what_it_says_of_itself(self, classify, extract, folder):
        assert repr(classify) == (
            "ImageClassificationPipeline(model: ConvNextV2ForImageClassification, float32, cpu; batch_size: 1)"
        )
        assert repr(extract).startswith("ImageFeatureExtractionPipeline(model: ConvNextV2ForImageClassification")
        assert (classify.task, extract.task) == ("image-classification", "image-feature-extraction")
        assert classify.device == "cpu"
        shared = npconv.pipeline(model=folder, workers=2)
        assert repr(shared) == "ImageClassificationPipeline(model: loaded by the workers; batch_size: 1)"

    def test_saved_and_loaded_it_is_the_same(self, classify, tmp_path):
        classify.save_pretrained(tmp_path / "new")
        assert npconv.pipeline("image-classification", tmp_path / "new")(photo()) == classify(photo())

    def test_in_a_block(self, folder, classify):
        with npconv.pipeline("image-classification", folder) as pipe:
            assert pipe(images=photo()) == classify(photo())
