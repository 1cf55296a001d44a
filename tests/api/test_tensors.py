"""Tensors of torch, TensorFlow, JAX and MLX as inputs of models and processors, and their dtypes and devices.

Of the libraries themselves those are tried that are installed; the other tests have stand-ins.
"""

import sys
import warnings

import numpy as np
import pytest
from support.builders import CLASSIFIERS, CONFIGS, FAMILIES, filled_model, filled_state_dict, pictures
from support.foreign import JaxArray, OfSubclass, TorchTensor

import npconv
from npconv import InputError, NpconvWarning, UnavailableError
from npconv.files.safetensors import load_file, save_file
from npconv.tensors import MAKERS, TensorType, as_tensor, load_library

LABELS = np.array([1, 3])
PHOTOS = np.random.default_rng(0).integers(0, 256, (2, 3, 24, 24), np.uint8)


@pytest.fixture
def classifier():
    return filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])


@pytest.fixture(params=FAMILIES)
def folder(request, tmp_path):
    """The folder of a model in bfloat16."""
    filled_model(CLASSIFIERS[request.param], CONFIGS[request.param]).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    floats = {name: "BF16" for name, tensor in tensors.items() if tensor.dtype.kind == "f"}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"}, dtypes=floats)
    return tmp_path


class TestInputs:
    @pytest.mark.parametrize("kind", [TorchTensor, OfSubclass, JaxArray])
    def test_a_model_takes_tensors_and_gives_arrays(self, classifier, kind):
        x = pictures()
        expected = classifier(x, LABELS)
        for inputs in (
            {"pixel_values": kind(x), "labels": kind(LABELS)},
            {"pixel_values": [kind(picture) for picture in x], "labels": [kind(label) for label in LABELS]},
        ):
            outputs = classifier(inputs)
            assert isinstance(outputs.logits, np.ndarray)
            np.testing.assert_array_equal(outputs.logits, expected.logits)
            assert outputs.loss == expected.loss
        np.testing.assert_array_equal(classifier([kind(x), kind(LABELS)]).logits, expected.logits)

    def test_tracked_or_on_a_gpu_or_in_bfloat16(self, classifier):
        x = pictures()
        for tensor in (
            TorchTensor(x, requires_grad=True),
            TorchTensor(x, device="cuda:0"),
            TorchTensor(x, dtype="torch.bfloat16"),
        ):
            np.testing.assert_array_equal(classifier(tensor).logits, classifier(x).logits)

    def test_whole_numbers_are_refused_as_of_arrays(self, classifier):
        with pytest.raises(InputError, match="expected normalized floating-point pixel_values, got uint8"):
            classifier(TorchTensor(PHOTOS))

    def test_a_processor_takes_tensors(self):
        processor = npconv.ConvNextImageProcessor(size=8)
        expected = processor(PHOTOS).pixel_values
        for given in (TorchTensor(PHOTOS, device="cuda:0"), [TorchTensor(photo) for photo in PHOTOS], JaxArray(PHOTOS)):
            np.testing.assert_array_equal(processor(given).pixel_values, expected)

    def test_a_processor_takes_arrays_of_a_device(self, device_stub):
        processor = npconv.ConvNextImageProcessor(size=8)
        for given in (device_stub.asarray(PHOTOS), [device_stub.asarray(photo) for photo in PHOTOS]):
            np.testing.assert_array_equal(processor(given).pixel_values, processor(PHOTOS).pixel_values)

    def test_parameters_may_be_tensors(self, classifier):
        weights = filled_state_dict(CLASSIFIERS["convnext"], CONFIGS["convnext"])
        tensors = {name: TorchTensor(value, requires_grad=True) for name, value in weights.items()}
        x = pictures()
        model = CLASSIFIERS["convnext"](CONFIGS["convnext"], tensors)
        np.testing.assert_array_equal(model(x).logits, classifier(x).logits)


class TestPlaces:
    """The forms of dtypes and devices: tests/test_backend.py has all of them."""

    @pytest.mark.parametrize("device", ["cpu", "cpu:0", -1, None])
    def test_the_cpu(self, device):
        assert npconv.ConvNextModel(CONFIGS["convnext"], device=device).device == "cpu"
        assert npconv.pipeline(model="convnextv2-cifar10", device=device).model.device == "cpu"

    @pytest.mark.parametrize("device", ["cuda", "cuda:0", 0, "mps", "cuda:1"])
    def test_a_device_that_is_not_there(self, device, monkeypatch):
        monkeypatch.setitem(sys.modules, "cupy", None)
        with pytest.raises(UnavailableError, match=r"device '?(cuda|mps)"):
            npconv.ConvNextModel(CONFIGS["convnext"], device=device)
        if device == 0:  # a pipeline goes on with the CPU and says so: tests/api/test_pipeline_calls.py
            return
        with pytest.raises(UnavailableError, match=r"device '?(cuda|mps)"):
            npconv.pipeline(model="convnextv2-cifar10", device=device)

    def test_dtypes(self):
        for dtype in ("torch.float16", np.float16, "half"):
            for given in ({"dtype": dtype}, {"torch_dtype": dtype}):
                assert npconv.AutoModel.from_pretrained("convnextv2-cifar10", **given).dtype == np.float16
                assert npconv.pipeline(model="convnextv2-cifar10", **given).model.dtype == np.float16
                assert npconv.AutoModel.from_config(CONFIGS["convnext"], **given).dtype == np.float16


class TestBfloat16:
    @pytest.mark.parametrize("given", [{"torch_dtype": "torch.bfloat16"}, {"dtype": "auto"}, {"dtype": "bfloat16"}])
    @pytest.mark.parametrize("engine", ["explicit", "fast"])
    def test_runs_in_float32_and_says_so_once(self, folder, given, engine):
        with pytest.warns(NpconvWarning, match="NumPy has no bfloat16: npconv computes in float32") as said:
            model = npconv.AutoModelForImageClassification.from_pretrained(folder, engine=engine, **given)
        assert len(said) == 1
        assert model.dtype == np.float32
        expected = npconv.AutoModelForImageClassification.from_pretrained(folder, dtype="float32", engine=engine)
        np.testing.assert_array_equal(model(pictures()).logits, expected(pictures()).logits)

    def test_a_pipeline_says_so_once(self):
        with pytest.warns(NpconvWarning, match="NumPy has no bfloat16") as said:
            pipe = npconv.pipeline(model="convnextv2-cifar10", torch_dtype="torch.bfloat16")
        assert (len(said), pipe.model.engine) == (1, "fast")

    def test_what_the_warning_advises(self, folder):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            npconv.AutoModelForImageClassification.from_pretrained(folder, dtype="float32")


@pytest.fixture(params=MAKERS, ids=lambda kind: kind.value)
def kind(request):
    """A kind of tensor whose library is installed, imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(MAKERS[request.param][0])
        return request.param


@pytest.mark.reference
class TestRealLibraries:
    def test_there_and_back(self, kind, classifier):
        processor = npconv.ConvNextImageProcessor(size=24)
        arrays = processor(PHOTOS)
        inputs = processor(images=PHOTOS, return_tensors=kind.value)
        made = as_tensor([1.0], kind)
        assert type(inputs.pixel_values) is type(made)
        assert tuple(inputs.pixel_values.shape) == arrays.pixel_values.shape
        outputs = classifier(**inputs, labels=as_tensor(LABELS, kind))
        assert isinstance(outputs.logits, np.ndarray)
        expected = classifier(**arrays, labels=LABELS)
        np.testing.assert_array_equal(outputs.logits, expected.logits)
        assert outputs.loss == expected.loss
        np.testing.assert_array_equal(inputs.convert_to_tensors("np").pixel_values, arrays.pixel_values)

    def test_pictures(self, kind):
        processor = npconv.ConvNextImageProcessor(size=8)
        tensor = as_tensor(PHOTOS, kind)
        for given in (tensor, list(tensor), tensor[0]):
            pixel_values = processor(given).pixel_values
            np.testing.assert_array_equal(pixel_values, processor(PHOTOS).pixel_values[: len(pixel_values)])

    def test_bfloat16(self, kind, classifier):
        library = load_library(kind)
        tensor, bfloat16 = as_tensor(pictures(), kind), library.bfloat16
        if kind == TensorType.PYTORCH:
            narrow = tensor.to(bfloat16).requires_grad_()
            rounded = narrow.detach().float()
        elif kind == TensorType.TENSORFLOW:
            narrow = library.cast(tensor, bfloat16)
            rounded = library.cast(narrow, library.float32)
        else:
            narrow = tensor.astype(bfloat16)
            rounded = narrow.astype(library.float32)
        np.testing.assert_array_equal(classifier(narrow).logits, classifier(np.asarray(rounded)).logits)
        with pytest.warns(NpconvWarning, match="NumPy has no bfloat16"):
            assert npconv.ConvNextModel(CONFIGS["convnext"], dtype=bfloat16).dtype == np.float32

    def test_dtypes(self, kind):
        library = load_library(kind)
        for name in ("float16", "float32"):
            assert npconv.ConvNextModel(CONFIGS["convnext"], dtype=getattr(library, name)).dtype == np.dtype(name)

    def test_torch_moves_its_own(self):
        torch = pytest.importorskip("torch")
        processor = npconv.ConvNextImageProcessor(size=8)
        inputs = processor(PHOTOS, return_tensors="pt").to(torch.device("cpu"), torch.bfloat16)
        assert inputs.pixel_values.dtype == torch.bfloat16
        assert inputs.to(npconv.ConvNextModel(CONFIGS["convnext"]).dtype).pixel_values.dtype == torch.float32
        assert inputs.to(torch.float16).pixel_values.dtype == torch.float16
        for wrong in ("abc", 1.5):
            with pytest.raises(UnavailableError, match=r"torch cannot use the device .*; use 'cpu'"):
                inputs.to(wrong)
        with pytest.raises(UnavailableError, match="the first device of its kind"):
            npconv.ConvNextModel(CONFIGS["convnext"], device=torch.device("cuda:1"))
        assert npconv.ConvNextModel(CONFIGS["convnext"], device=torch.device("cpu")).device == "cpu"

    def test_tensors_without_values(self, classifier):
        torch = pytest.importorskip("torch")
        for tensor in (torch.zeros(1, 3, 8, 8, device="meta"), torch.zeros(1, 3, 8, 8).to_sparse()):
            with pytest.raises(InputError, match="expected a tensor that NumPy can take, got Tensor: "):
                classifier(tensor)

    def test_jax_cannot_trace_a_model(self, classifier):
        jax = pytest.importorskip("jax")
        with pytest.raises(InputError, match=r"expected a tensor that NumPy can take, got .*Tracer"):
            jax.jit(lambda x: classifier(x).logits)(pictures())

    def test_the_same_tensors_as_in_transformers(self):
        torch = pytest.importorskip("torch")
        transformers = pytest.importorskip("transformers")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = transformers.ConvNextImageProcessorPil(size={"shortest_edge": 8})
        ours = npconv.ConvNextImageProcessor(size={"shortest_edge": 8})
        picture = torch.from_numpy(PHOTOS[0])
        for given in ("pt", transformers.TensorType.PYTORCH, npconv.TensorType.PYTORCH.value):
            expected = theirs(images=picture, return_tensors=given).pixel_values
            tensor = ours(images=picture, return_tensors=given).pixel_values
            assert (tensor.dtype, tensor.shape) == (expected.dtype, expected.shape)
            assert torch.equal(tensor, expected)

    def test_the_same_batches_as_in_transformers(self):
        torch = pytest.importorskip("torch")
        transformers = pytest.importorskip("transformers")
        from npconv.images import BatchFeature

        data = {"pixel_values": [np.ones((3, 2, 2), np.float32)], "labels": [1], "none": None, "text": "a"}
        ours = BatchFeature(dict(data), tensor_type="pt").to("cpu", torch.float16)
        theirs = transformers.BatchFeature(dict(data), tensor_type="pt").to("cpu", torch.float16)
        assert ours.keys() == theirs.keys() == theirs.data.keys() == ours.data.keys()
        for name in ("pixel_values", "labels"):
            assert ours[name].dtype == theirs[name].dtype
            assert torch.equal(ours[name], theirs[name])
        assert (ours.none, ours.text) == (theirs.none, theirs.text)
