"""What models give back to those who call them with tensors of torch: arrays that torch takes, with its words."""

import copy
import io
import pickle
import sys
import types

import numpy as np
import pytest
from support.builders import BACKBONES, CLASSIFIERS, CONFIGS, filled_model, pictures
from support.foreign import JaxArray, TorchTensor

import npconv
from npconv import InputError, UnavailableError
from npconv.api.parameter import Parameter
from npconv.api.torch_array import TorchArray

LOGITS = np.array([[0.5, 2.0, -1.0], [1.0, 0.0, 3.0]], np.float32)


class Tensor:
    """Stands for a tensor of torch in tests without it."""

    def __init__(self, array):
        self.array = array

    def softmax(self, dim):
        return "softmax", dim, self.array

    def argmax(self, dim, keepdim=False):
        return "argmax", dim, keepdim

    def max(self, *dim):
        return "max", dim

    def std(self):
        return "std"

    def __reduce_ex__(self, protocol):
        return Tensor, (self.array,)

    def flatten(self, start):
        return "flatten", start


@pytest.fixture
def logits(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(from_numpy=Tensor))
    return LOGITS.copy().view(TorchArray)


def test_only_who_calls_with_torch_gets_them():
    model, x = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"]), pictures()
    output = model(TorchTensor(x), output_hidden_states=True)
    assert {type(array) for array in (output.logits, *output.hidden_states)} == {TorchArray}
    for other in (x, JaxArray(x)):
        plain = model(other, output_hidden_states=True)
        assert {type(array) for array in (plain.logits, *plain.hidden_states)} == {np.ndarray}
    np.testing.assert_array_equal(output.logits, plain.logits)
    assert {type(array) for array in model(TorchTensor(x), return_dict=False)} == {TorchArray}
    backbone = filled_model(BACKBONES["convnext"], CONFIGS["convnext"])
    assert {type(array) for array in backbone(TorchTensor(x)).feature_maps} == {TorchArray}


def test_what_numpy_knows_numpy_does(logits):
    assert logits.argmax(-1).tolist() == LOGITS.argmax(-1).tolist()
    assert float(logits.mean((0, 1))) == float(LOGITS.mean())
    assert logits.flatten().shape == (6,)
    assert np.shares_memory(logits.view(np.uint8), logits)
    assert (logits * 2).tolist() == (LOGITS * 2).tolist()


def test_what_numpy_lacks_or_refuses_torch_does(logits):
    says, dim, array = logits.softmax(-1)
    assert (says, dim, type(array)) == ("softmax", -1, np.ndarray)
    assert np.shares_memory(array, logits)
    assert logits.argmax(dim=1) == ("argmax", 1, False)
    assert logits.argmax(dim=1, keepdim=True) == ("argmax", 1, True)
    assert logits.flatten(2) == ("flatten", 2)
    with pytest.raises(AttributeError, match="no_such_word"):
        logits.no_such_word()


def test_a_method_that_means_two_things_is_that_of_torch(logits):
    assert logits.max(1) == ("max", (1,))
    assert logits.std() == "std"
    assert logits.transpose(0, 1).tolist() == LOGITS.T.tolist()
    assert logits.view(-1).tolist() == logits.view((-1,)).tolist() == LOGITS.ravel().tolist()
    assert (logits.size, logits.size(), logits.size(0), logits.size(-1)) == (6, (2, 3), 2, 3)
    assert logits.data is logits
    assert (logits.device, logits.device.type) == ("cpu", "cpu")


def test_functions_and_arguments_of_numpy_mean_what_numpy_means(logits):
    assert logits.max(axis=1).tolist() == np.max(logits, 1).tolist() == LOGITS.max(1).tolist()
    assert np.std(logits) == logits.std(ddof=0) == LOGITS.std()
    assert np.sort(logits).tolist() == np.sort(LOGITS).tolist()
    assert np.repeat(logits, 2, 1).tolist() == np.repeat(LOGITS, 2, 1).tolist()
    assert np.transpose(logits, (0, 1)).tolist() == LOGITS.tolist()
    assert [places.tolist() for places in np.nonzero(logits > 1)] == [[0, 1], [1, 2]]
    assert np.concatenate([logits, LOGITS]).shape == (4, 3)
    assert np.size(logits) == 6


def test_one_number_is_a_number_in_any_shape(logits):
    best = logits[:1].argmax(-1)
    assert (int(best), "abc"[best], float(logits[:1, :1])) == (1, "b", 0.5)


def test_a_loss_is_one_of_them_and_says_where_gradients_come_from():
    """Its advice, as it is typed, gives the same loss."""
    model, pixel_values, labels = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"]), TorchTensor(pictures()), [0, 1]
    loss = model(pixel_values, labels=labels).loss
    assert (type(loss), loss.shape, loss.item()) == (TorchArray, (), float(loss))
    with pytest.raises(UnavailableError, match=r"npconv\.value_and_grad\(model\)\(.* returns it") as refusal:
        loss.backward()
    advice = str(refusal.value).partition(": ")[2].partition(" returns")[0]
    names = {"npconv": npconv, "model": model, "pixel_values": pixel_values, "labels": labels}
    assert eval(advice, names).loss == loss.item()


def test_without_torch_there_are_the_methods_of_numpy_alone(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    weight = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"]).classifier.weight
    assert (type(weight), weight.max(1).shape, weight.std()) == (Parameter, (4,), np.asarray(weight).std())
    assert (weight.size(0), weight.nelement() * weight.element_size()) == (4, weight.nbytes)
    with pytest.raises(AttributeError, match="softmax'; import torch"):
        weight.softmax(-1)
    with pytest.raises(TypeError):
        weight.argsort(descending=True)


def test_parameters_are_set_by_data():
    model, x = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"]), pictures()
    before = model(x).logits
    model.classifier.bias.data = np.asarray(model.classifier.bias) + 1
    np.testing.assert_allclose(model(x).logits, before + 1, rtol=1e-5)  # one more addition in float32
    model.classifier.bias.data -= 1
    np.testing.assert_allclose(model(x).logits, before, rtol=1e-5)
    with pytest.raises(InputError, match=r"expected numbers of shape \(4,\), got data of shape \(\)"):
        model.classifier.bias.data = 0.0
    fast = filled_model(CLASSIFIERS["cvt"], CONFIGS["cvt"], engine="fast")
    with pytest.raises(InputError, match="load_state_dict"):
        fast.classifier.bias.data = np.zeros(4, np.float32)


def test_functions_of_torch_get_tensors(logits):
    def stack(tensors, dim=0):
        return [type(tensor) for tensor in tensors], dim

    assert TorchArray.__torch_function__(stack, (TorchArray,), ([logits, logits],), {"dim": 1}) == ([Tensor] * 2, 1)


def test_they_can_be_copied_and_are_tensors_in_a_file(logits):
    for other in (copy.deepcopy(logits), copy.copy(logits)):
        assert type(other) is TorchArray
        assert other.tolist() == LOGITS.tolist()
    assert type(pickle.loads(pickle.dumps(logits))) is Tensor


@pytest.mark.reference
def test_what_torch_means_otherwise_is_meant_as_by_torch():
    torch = pytest.importorskip("torch")
    logits = LOGITS.copy().view(TorchArray)
    tensor = torch.from_numpy(LOGITS.copy())
    values, places = logits.max(1)
    assert torch.equal(values, tensor.max(1).values)
    assert torch.equal(places, tensor.max(1).indices)
    for call in (
        lambda x: x.max(-1)[1],
        lambda x: x.min(0).indices,
        lambda x: x.std(),
        lambda x: x.var(1),
        lambda x: x.std(dim=0),
        lambda x: x.repeat(2, 1),
        lambda x: x.repeat(2, 1, 1),
        lambda x: x.view(-1),
        lambda x: x.view(3, 2),
        lambda x: x.argsort(descending=True),
        lambda x: x.sort(descending=True)[0],
        lambda x: x.cumsum(dim=1),
        lambda x: x.prod(dim=0),
        lambda x: x.data.cpu(),
        lambda x: (x > 0).any(dim=1),
        lambda x: (x > 0).all(dim=1),
    ):
        assert torch.equal(call(logits), call(tensor))
    assert isinstance(torch.as_tensor(logits), torch.Tensor)
    assert np.shares_memory(torch.as_tensor(logits).numpy(), logits)
    stored = io.BytesIO()
    torch.save({"logits": torch.as_tensor(logits)}, stored)
    stored.seek(0)
    assert torch.equal(torch.load(stored)["logits"], tensor)
    assert logits.size() == tensor.size()
    assert logits.size(-1) == tensor.size(-1)
    assert torch.equal(logits[:, ::-1].softmax(-1), tensor.flip(1).softmax(-1))


@pytest.mark.reference
def test_with_torch_itself():
    torch = pytest.importorskip("torch")
    model = filled_model(CLASSIFIERS["convnextv2"], CONFIGS["convnextv2"])
    output = model(torch.from_numpy(pictures()), output_hidden_states=True)
    logits, maps = output.logits, output.hidden_states[-1]
    tensor = torch.from_numpy(np.asarray(logits))
    for ours, right in (
        (logits.softmax(dim=-1), tensor.softmax(dim=-1)),
        (torch.softmax(logits, dim=1), tensor.softmax(dim=1)),
        (torch.topk(logits, 2).indices, torch.topk(tensor, 2).indices),
        (logits.topk(2).values, tensor.topk(2).values),
        (torch.max(logits, 1)[1], torch.max(tensor, 1)[1]),
        (torch.stack([logits[0], logits[1]]), tensor),
        (logits + torch.ones(2, 1), tensor + 1),
        (torch.ones(2, 1) + logits, tensor + 1),
        (logits.unsqueeze(0).squeeze(0), tensor),
        (logits.detach().cpu(), tensor),
        (torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])),
         torch.nn.functional.cross_entropy(tensor, torch.tensor([0, 1]))),
        (torch.cosine_similarity(logits[0], logits[1], dim=0), torch.cosine_similarity(tensor[0], tensor[1], dim=0)),
    ):  # fmt: skip
        assert isinstance(ours, torch.Tensor)
        assert torch.equal(ours, right)
    with pytest.raises(AttributeError, match="no attribute 'no_such_word'"):
        logits.no_such_word()
    for ours, right in (
        (logits.max(1), tensor.max(1)),
        (logits.sort(descending=True), tensor.sort(descending=True)),
        (logits[0].sort(), tensor[0].sort()),
        (logits.max(dim=1, keepdim=True), tensor.max(dim=1, keepdim=True)),
    ):
        assert torch.equal(ours.values, right.values)
        assert torch.equal(ours.indices, right.indices)
    for ours, right in (
        (logits.std(), tensor.std()),
        (logits.var(1), tensor.var(1)),
        (logits.repeat(2, 1), tensor.repeat(2, 1)),
        ((logits > 0).nonzero(), (tensor > 0).nonzero()),
        (logits.argsort(-1, True), tensor.argsort(-1, True)),
        (logits.data.max(), tensor.max()),
    ):
        assert torch.equal(ours, right)
    assert [torch.as_tensor(a).tolist() for a in (logits.view(-1, 2), logits.transpose(0, 1))] == [
        tensor.view(-1, 2).tolist(),
        tensor.transpose(0, 1).tolist(),
    ]
    assert maps.flatten(2).transpose(1, 2).shape == (maps.shape[0], maps.shape[2] * maps.shape[3], maps.shape[1])
    assert maps.mean(dim=[2, 3]).shape == maps.mean([2, 3]).shape == maps.shape[:2]
    assert logits.device == model.device == torch.device("cpu") == logits.device
    assert (model.device != torch.device("cpu")) is False
    assert model.device != torch.device("cuda")
    assert isinstance(logits.detach().numpy(), np.ndarray)
    assert logits.argmax(-1).tolist() == tensor.argmax(-1).tolist()
    assert logits[0].argmax().item() == tensor[0].argmax().item()


@pytest.mark.reference
def test_parameters_with_torch_itself(tmp_path):
    torch = pytest.importorskip("torch")
    model, x = filled_model(CLASSIFIERS["convnextv2"], CONFIGS["convnextv2"]), pictures()
    weight, features = model.classifier.weight, torch.from_numpy(model.base_model(x).pooler_output)
    logits = torch.nn.functional.linear(features, weight, model.classifier.bias)
    np.testing.assert_allclose(logits, model(x).logits, rtol=1e-4, atol=1e-6)  # two orders of summation in float32
    assert weight.norm().item() == pytest.approx(float(np.linalg.norm(weight)), rel=1e-6)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    saved = torch.load(tmp_path / "weights.pt")
    assert {type(tensor) for tensor in saved.values()} == {torch.Tensor}
    torch.nn.init.constant_(model.classifier.bias, 2.0)
    weight.zero_()
    assert model(x).logits.tolist() == [[2.0] * 4] * 2
    assert list(model.load_state_dict(saved).missing_keys) == []
    np.testing.assert_allclose(logits, model(x).logits, rtol=1e-4, atol=1e-6)  # likewise
    fast = filled_model(CLASSIFIERS["convnextv2"], CONFIGS["convnextv2"], engine="fast")
    with pytest.raises(AttributeError, match=r"read-only.*load_state_dict changes weights"):
        fast.classifier.bias.zero_()
