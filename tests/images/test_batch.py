"""What a processor returns: a dictionary that converts and moves what it holds."""

import copy
import pickle

import numpy as np
import pytest
from support.foreign import JaxArray, TorchTensor, make_torch
from support.standins import DeviceArray

from npconv.errors import InputError, NpconvWarning, UnavailableError
from npconv.images import BatchFeature, ConvNextImageProcessor

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
LABELS = np.array([1, 2])


def batch():
    return BatchFeature({"pixel_values": VALUES, "labels": LABELS})


def tensors():
    return BatchFeature({"pixel_values": TorchTensor(VALUES), "labels": TorchTensor(LABELS), "more": VALUES})


class TestMaking:
    def test_key_attribute_and_keyword_arguments(self):
        for inputs in (
            BatchFeature(pixel_values=[1]),
            BatchFeature({"pixel_values": [1]}),
            BatchFeature(data={"pixel_values": [1]}),
        ):
            assert inputs["pixel_values"] is inputs.pixel_values
            assert (lambda pixel_values: pixel_values)(**inputs) == [1]
            assert (list(inputs), list(inputs.keys()), inputs.data) == (["pixel_values"],) * 2 + (
                {"pixel_values": [1]},
            )
            with pytest.raises(AttributeError, match=r"expected one of \['pixel_values'\], got 'labels'"):
                _ = inputs.labels
        assert BatchFeature() == {}

    def test_copies_and_pickles(self):
        inputs = BatchFeature(pixel_values=[1])
        for twin in (copy.deepcopy(inputs), copy.copy(inputs), inputs.copy(), pickle.loads(pickle.dumps(inputs))):
            assert twin == inputs
            assert twin is not inputs
            assert type(twin) is BatchFeature

    def test_data_is_what_it_holds(self):
        inputs = batch()
        inputs.data["mask"] = 3
        assert inputs.mask == 3


class TestTensors:
    def test_values_become_tensors(self, monkeypatch):
        make_torch(monkeypatch)
        inputs = BatchFeature({"a": [1.0, 2.0], "b": None, "c": "text", "d": VALUES}, tensor_type="pt")
        assert [type(inputs[name]) for name in "abcd"] == [TorchTensor, type(None), str, TorchTensor]
        assert inputs.convert_to_tensors("np") is inputs
        np.testing.assert_array_equal(inputs.a, [1, 2])
        assert type(inputs.a) is np.ndarray

    def test_some_stay(self):
        inputs = BatchFeature({"a": [1], "b": [2]}, tensor_type="np", skip_tensor_conversion=["b"])
        assert (type(inputs.a), type(inputs.b)) == (np.ndarray, list)
        assert type(BatchFeature({"a": [1]}).convert_to_tensors().a) is list

    def test_the_processor_gives_them(self, monkeypatch, photo):
        make_torch(monkeypatch)
        processor = ConvNextImageProcessor(size=6)
        expected = processor(photo).pixel_values
        tensor = processor(images=photo, return_tensors="pt").pixel_values
        np.testing.assert_array_equal(tensor.array, expected)
        assert processor(photo, return_tensors="pt", device="cpu").pixel_values.device == "cpu"

    def test_pictures_of_several_shapes_make_none(self, monkeypatch, photo):
        make_torch(monkeypatch)
        with pytest.raises(
            InputError, match=r"of one shape for return_tensors='pt', got .*; set do_resize=True, or leave"
        ):
            ConvNextImageProcessor(do_resize=False)([photo, photo.resize((9, 9))], return_tensors="pt")


class TestMoving:
    @pytest.mark.parametrize(
        "where", [("float16",), (np.float16,), ("cpu", "torch.float16"), (-1, np.dtype("float16"))]
    )
    def test_arrays_are_cast_and_labels_are_not(self, where):
        inputs = batch()
        assert inputs.to(*where) is inputs
        assert (inputs.pixel_values.dtype, inputs.labels.dtype) == (np.float16, LABELS.dtype)

    def test_by_keyword(self):
        assert batch().to(device="cpu", dtype="double").pixel_values.dtype == np.float64
        inputs = batch().to(None, non_blocking=True)
        assert inputs.pixel_values is VALUES

    def test_to_a_device_and_back(self, device_stub):
        inputs = batch().to("stub")
        assert (type(inputs.pixel_values), type(inputs.labels)) == (DeviceArray, DeviceArray)
        np.testing.assert_array_equal(inputs.to("cpu").pixel_values, VALUES)

    def test_lists_and_other_values(self):
        other = JaxArray(VALUES)
        inputs = BatchFeature({"pixel_values": [VALUES, VALUES[:1]], "text": "a", "none": None, "other": other})
        inputs.to("cpu", "float16")
        assert [array.dtype for array in inputs.pixel_values] == [np.float16] * 2
        assert (inputs.text, inputs.none, inputs.other) == ("a", None, other)

    def test_bfloat16_is_said_once(self):
        inputs = BatchFeature({"pixel_values": [VALUES, VALUES[:1]]})
        with pytest.warns(NpconvWarning, match="NumPy has no bfloat16: npconv computes in float32") as said:
            inputs.to("bfloat16")
        assert len(said) == 1

    def test_tensors_alone_are_moved_as_torch_does(self, monkeypatch):
        torch = make_torch(monkeypatch)
        for dtype in ("bfloat16", "torch.bfloat16", torch.bfloat16):
            inputs = tensors().to(0, dtype)
            assert (inputs.pixel_values.device, inputs.pixel_values.dtype) == (0, "torch.bfloat16")
            assert (inputs.labels.device, inputs.labels.dtype) == (0, "torch.int64")
            assert inputs.more is VALUES
        assert tensors().to(-1, np.dtype("float16")).pixel_values.dtype == "torch.float16"

    def test_what_torch_lacks(self, monkeypatch):
        make_torch(monkeypatch)
        with pytest.raises(
            UnavailableError, match=r"torch cannot use the device 'cuda': .*Invalid device string.* use 'cpu'"
        ):
            tensors().to("cuda")
        with pytest.raises(InputError, match="expected a dtype of torch, such as 'float16', got 'float12'"):
            tensors().to(dtype="float12")

    def test_what_is_no_device(self):
        for wrong in ("abc", 1.5, object(), -3):
            with pytest.raises(InputError, match="expected device 'cpu', 'cuda' or the number of a GPU, got"):
                batch().to(wrong)
        with pytest.raises(InputError, match="expected dtype to be one of"):
            batch().to(dtype="int8")
