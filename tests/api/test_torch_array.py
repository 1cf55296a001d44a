"""What models give back to those who call them with tensors of torch: arrays that torch takes, with its words."""

import copy
import pickle
import sys
import types

import numpy as np
import pytest
from support.builders import BACKBONES, CLASSIFIERS, CONFIGS, filled_model, pictures
from support.foreign import JaxArray, TorchTensor

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
    assert logits.max(1).tolist() == LOGITS.max(1).tolist()
    assert logits.flatten().shape == (6,)
    assert logits.transpose(1, 0).shape == (3, 2)
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


def test_functions_of_torch_get_tensors(logits):
    def stack(tensors, dim=0):
        return [type(tensor) for tensor in tensors], dim

    assert TorchArray.__torch_function__(stack, (TorchArray,), ([logits, logits],), {"dim": 1}) == ([Tensor] * 2, 1)


def test_they_can_be_copied_and_sent(logits):
    for other in (copy.deepcopy(logits), pickle.loads(pickle.dumps(logits)), copy.copy(logits)):
        assert type(other) is TorchArray
        assert other.tolist() == LOGITS.tolist()


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
    assert maps.flatten(2).transpose(1, 2).shape == (maps.shape[0], maps.shape[2] * maps.shape[3], maps.shape[1])
    assert maps.mean(dim=[2, 3]).shape == maps.mean([2, 3]).shape == maps.shape[:2]
    assert isinstance(logits.detach().numpy(), np.ndarray)
    assert logits.argmax(-1).tolist() == tensor.argmax(-1).tolist()
    assert logits[0].argmax().item() == tensor[0].argmax().item()
