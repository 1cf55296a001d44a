"""Small pickles that ask for much: what calls copy, values that are shared, keys that collide, names that add up."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from support.container_files import call, mapping, name, pickled, storage, streamed, tensor, text, zipped

from npconv.errors import WeightsError
from npconv.files import settling
from npconv.files.opening import open_weights
from npconv.files.pickles import read_pickle

pytestmark = pytest.mark.long

VALUES = np.arange(24, dtype=np.float32)
TENSOR = tensor(storage("0", 24), (24,), (1,))
COUNT = 2000
#: In place of `pickle_values.MAX_NUMBER_KEYS`: tracing memory makes each opcode slow.
MOST = 2000


def noted(body, index):
    """Lay a value down in the memo only."""
    return body + b"q" + bytes([index]) + b"0"


def again(*indices):
    return b"".join(b"h" + bytes([index]) for index in indices)


def items(values):
    return b"(" + values + b"u"


DICT = noted(b"}" + items(b"".join(text(f"{i:x}") + b"N" for i in range(COUNT))), 1)
NUMBERS = noted(b"](" + b"N" * COUNT + b"e", 1)
PAIRS = noted(b"](" + (text("a") + b"N\x86") * COUNT + b"e", 1)
ORDERED = noted(name("collections", "OrderedDict"), 2)
CLASS = noted(name("theirs.model", "Block"), 2)


def grown(first, step, count):
    """A value, then one made of it by `step`, and so on; each in the place 5 of the memo."""
    return noted(first, 5) + noted(step, 5) * count + again(5)


#: What it does -> the value, what the error says.
COPIES = {
    "a dict copied at each step": DICT + ORDERED + b"](" + (again(2, 1) + b"\x85R") * COUNT + b"e",
    "a dict copied and dropped": DICT + ORDERED + (again(2, 1) + b"\x85R0") * COUNT + b"N",
    "a copy of the copy": DICT + ORDERED + grown(again(1), again(2, 5) + b"\x85R", COUNT),
    "pairs of one key": PAIRS + ORDERED + (again(2, 1) + b"\x85R0") * COUNT + b"N",
    "a counter": DICT + noted(name("collections", "Counter"), 2) + (again(2, 1) + b"\x85R0") * COUNT + b"N",
    "a new object of a dict": DICT + ORDERED + (again(2, 1) + b"\x85\x810") * COUNT + b"N",
    "a skipped class": NUMBERS + noted(name("argparse", "Namespace"), 2) + (again(2, 1) + b"\x85R0") * COUNT + b"N",
    "text encoded anew": noted(text("x" * COUNT), 1)
    + noted(name("_codecs", "encode"), 2)
    + noted(text("latin1"), 3)
    + b"("
    + (again(2, 1, 3) + b"\x86R") * COUNT
    + b"t",
    "sets of a list": NUMBERS + noted(name("builtins", "set"), 2) + (again(2, 1) + b"\x85R0") * COUNT + b"N",
}
EXPANSIONS = {
    "a list of one list": NUMBERS + b"](" + again(1) * COUNT + b"e",
    "doubled tuples": grown(b"N", again(5, 5) + b"\x86", 60),
    "doubled lists": grown(b"]", b"](" + again(5, 5) + b"e", 60),
    "doubled dicts": grown(b"}", b"}" + items(text("a") + again(5) + text("b") + again(5)), 60),
    "doubled objects": CLASS
    + grown(TENSOR, again(2) + b")\x81}" + items(text("a") + again(5) + text("b") + again(5)) + b"b", 60),
    "doubled items of objects": CLASS
    + grown(TENSOR, again(2) + b")\x81" + items(text("a") + again(5) + text("b") + again(5)), 60),
    "doubled modules": CLASS
    + grown(
        again(2) + b")\x81" + mapping(_parameters=mapping(w=TENSOR), _modules=b"}") + b"b",
        again(2)
        + b")\x81"
        + mapping(_parameters=b"}", _modules=b"}" + items(text("a") + again(5) + text("b") + again(5)))
        + b"b",
        60,
    ),
    "modules that share parameters of none": DICT
    + CLASS
    + noted(mapping(_parameters=again(1), _modules=b"}"), 3)
    + b"]("
    + (again(2) + b")\x81" + again(3) + b"b") * COUNT
    + b"e",
    "long names of values": mapping(**{"k" * 900: b"](" + b"N" * COUNT + b"]e"}),
    "long names of skipped values": mapping(
        **{"k" * 900: noted(name("torch", "float32"), 1) + b"](" + again(1) * COUNT + b"e"}
    ),
    "one tensor under many names": noted(tensor(storage("0", 24), (10**6, 24), (0, 1)), 1)
    + b"]("
    + again(1) * 9
    + b"e",
}
KEYS = {
    "numbers": b"}" + items(b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(MOST + 1))),
    "numbers of many dicts": (
        b"(" + b"".join(b"}" + b"J" + struct.pack("<i", i) + b"Ns" for i in range(MOST + 1)) + b"t"
    ),
    "pairs with numbers": call(
        "collections",
        "OrderedDict",
        b"](" + b"".join(b"J" + struct.pack("<i", i) + b"N\x86" for i in range(MOST + 1)) + b"e",
    ),
    "tuples": b"}" + items(b"".join(b"J" + struct.pack("<i", i) + b"\x85N" for i in range(MOST // 10 + 1))),
}
CASES = {
    **{key: (body, "expected calls to copy at most") for key, body in COPIES.items()},
    **{
        key: (body, "more of either than its size can mean|over .* dicts|take more than")
        for key, body in EXPANSIONS.items()
    },
    **{f"keys: {key}": (body, "numbers as the keys of") for key, body in KEYS.items()},
    "a far place in the memo": (b"Nr\xff\xff\xff\xff", "values to note"),
}


@pytest.mark.parametrize(("body", "message"), CASES.values(), ids=CASES)
def test_what_a_small_pickle_asks_for_is_counted(tmp_path, monkeypatch, body, message):
    """Memory stays within a hundred bytes for one of the file, what a list or a dict takes at the least."""
    monkeypatch.setattr("npconv.files.pickle_values.MAX_NUMBER_KEYS", MOST)
    monkeypatch.setattr("npconv.files.pickles.MAX_NUMBER_KEYS", MOST)
    data = zipped(mapping(a=TENSOR, z=body), {"0": VALUES})
    (tmp_path / "weights").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=message) as caught:
            open_weights(tmp_path / "weights")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert peak < 1_000_000 + 150 * len(data)


def test_the_older_form_is_counted_too(tmp_path):
    (tmp_path / "weights").write_bytes(streamed(mapping(a=TENSOR, z=COPIES["a copy of the copy"]), {"0": VALUES}))
    with pytest.raises(WeightsError, match="expected calls to copy at most"):
        open_weights(tmp_path / "weights")


def test_holes_in_the_memo_take_no_more_than_the_largest_pickle():
    value = read_pickle(memoryview(pickled(b"Nr\x00\x00\x06\x000j\x00\x00\x06\x00")), "x").value
    assert value is None
    with pytest.raises(WeightsError, match="a value noted before as 5"):
        read_pickle(memoryview(pickled(b"Nr\x00\x00\x06\x00h\x05")), "x")


def test_what_is_shared_within_the_size_of_a_file_is_opened(tmp_path):
    """Tied weights, one list for many groups: as training scripts have them."""
    body = mapping(
        model=mapping(a=noted(TENSOR, 7) + again(7), b=again(7), c=again(7)),
        groups=noted(b"](K\x01K\x02e", 8) + b"](" + again(8) * 50 + b"e",
    )
    (tmp_path / "weights").write_bytes(zipped(body, {"0": VALUES}))
    opened = open_weights(tmp_path / "weights")
    assert list(opened.tensors) == ["a", "b", "c"]
    assert opened.tensors["a"] is opened.tensors["c"]
    assert opened.metadata == {f"groups.{i}": [1, 2] for i in range(50)}


def test_objects_that_hold_each_other_are_walked_through_once(tmp_path):
    """As configurations do, whose nodes know their parents."""
    node = CLASS + noted(again(2) + b")\x81", 5)
    for _ in range(settling.MAX_DEPTH):
        node += noted(again(2) + b")\x81" + mapping(left=again(5), right=again(5)) + b"b", 5)
    ring = noted(again(2) + b")\x81", 6) + again(6) + mapping(parent=again(6), me=b"]" + again(6) + b"a") + b"b"
    body = mapping(model=mapping(a=TENSOR), nodes=node + again(5), ring=ring)
    (tmp_path / "weights").write_bytes(zipped(body, {"0": VALUES}))
    opened = open_weights(tmp_path / "weights")
    assert list(opened.tensors) == ["a"]
    assert opened.skipped == [("nodes", "theirs.model.Block"), ("ring", "theirs.model.Block")]
