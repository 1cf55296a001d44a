"""How much a pickle may mean: as many values, letters, levels and bytes as are allowed, and not one more."""

from __future__ import annotations

import numpy as np
import pytest

from npconv.errors import WeightsError
from npconv.files import settling
from npconv.files.pickle_values import Object, Skipped, Storage, Tensor
from npconv.files.settling import Budget, Settler, array_of

NUMBERS = np.arange(12, dtype=np.float32)


def settled(value, pickle_size=0, file_size=0):
    """Return what stands for a value, and what was left out."""
    return Settler(lambda _: memoryview(NUMBERS.tobytes()), file_size, pickle_size, "s").settle(value)


def nested(levels):
    value = [1]
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("fits", "too_much", "said"),
    [
        ([0] * 999, [0] * 1000, "over 400000 values or has names of over 1000 letters"),
        ({"x" * 999: 1}, {"x" * 1000: 1}, "over 400000 values or has names of over 1000 letters"),
        ({"x" * 499: {"y" * 499: 1}}, {"x" * 499: {"y" * 500: 1}}, "names of over 1000 letters"),
        ({f"{n:0800}": 1 for n in range(144)}, {f"{n:0800}": 1 for n in range(145)}, "more of either than its size"),
        (nested(64), nested(65), "nests more than 64 dicts and lists"),
    ],
)
def test_as_much_as_is_allowed(fits, too_much, said):
    assert settled(fits).value == fits
    with pytest.raises(WeightsError, match=said):
        settled(too_much)


def test_a_larger_pickle_may_mean_more_up_to_a_limit(monkeypatch):
    assert len(settled([0] * 1399, pickle_size=100).value) == 1399
    with pytest.raises(WeightsError, match="expected weights"):
        settled([0] * 1400, pickle_size=100)
    monkeypatch.setattr(settling, "MAX_VALUES", 50)
    assert len(settled([0] * 49, pickle_size=100).value) == 49
    with pytest.raises(WeightsError, match="expected weights"):
        settled([0] * 50, pickle_size=100)


def test_what_contains_itself_is_refused_and_what_occurs_twice_is_not():
    twice = [1]
    assert settled([twice, twice]).value == [[1], [1]]
    round_ = []
    round_.append({"a": round_})
    with pytest.raises(WeightsError, match=r"'0\.a' contains itself"):
        settled(round_)


def test_what_is_no_tensor_is_named_as_often_as_is_allowed(monkeypatch):
    monkeypatch.setattr(settling, "MAX_SKIPPED", 3)
    things = [Skipped("f"), memoryview(b"abc"), Storage("0", "F32", 1)]
    assert settled({"a": things}).skipped == [("a.0", "f"), ("a.1", "3 bytes"), ("a.2", "a storage without a tensor")]
    with pytest.raises(WeightsError, match="over 3 things that are no tensors"):
        settled([*things, Skipped("g")])


def test_an_object_is_what_tensors_are_in_it():
    tensor = Tensor(Storage("0", "F32", 12), "F32", 0, (2,), (1,))
    found = settled({"a": Object("C", {"w": tensor, "n": 1}), "b": Object("D", {"n": [1]})})
    np.testing.assert_array_equal(found.value["a"]["w"], NUMBERS[:2])
    assert found.value["a"]["n"] == 1
    assert isinstance(found.value["b"], Skipped)
    assert found.skipped == [("b", "D")]


def test_bytes_are_counted():
    budget = Budget(100_000, "s")
    assert budget.left == 1_600_000
    assert Budget(10, "s").left == 1_000_000
    budget.take(1_600_000, "a")
    with pytest.raises(
        WeightsError, match=r"up to 'a\.b' the tensors take more than 1600000 bytes, expected at most 16"
    ):
        budget.take(1, "a", "b")


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "expected"),
    [
        (0, (12,), (1,), NUMBERS),
        (11, (1,), (1,), NUMBERS[11:]),
        (11, (1, 1), (999, 999), NUMBERS[11:].reshape(1, 1)),
        (2, (2, 3), (5, 1), [[2, 3, 4], [7, 8, 9]]),
        (1, (2, 2), (0, 10), [[1, 11], [1, 11]]),
        (12, (0, 3), (3, 1), np.zeros((0, 3))),
    ],
)
def test_a_tensor_lies_in_its_storage(offset, shape, strides, expected):
    tensor = Tensor(Storage("0", "F32", 12), "F32", offset, shape, strides)
    data = memoryview(NUMBERS.tobytes())
    found = array_of(tensor, "t", lambda _: data, Budget(0, "s"), "s")
    np.testing.assert_array_equal(found, expected)
    assert not found.flags.writeable
    further = 12 - int(found.max()) if found.size else 1
    beyond = Tensor(Storage("0", "F32", 12), "F32", offset + further, shape, strides)
    with pytest.raises(WeightsError, match=r"'t' of shape .* reaches beyond its storage of 12 values of F32"):
        array_of(beyond, "t", lambda _: data, Budget(0, "s"), "s")
