import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npconv.errors import WeightsError
from npconv.models.parameters import MAX_DEPTH, MAX_HOLES, flatten, map_tree, nest


@pytest.mark.parametrize(
    ("flat", "tree"),
    [
        ({}, {}),
        ({"a": 1}, {"a": 1}),
        ({"a.b": 1, "a.c": 2, "d": 3}, {"a": {"b": 1, "c": 2}, "d": 3}),
        (
            {"encoder.stages.0.layers.1.dwconv.weight": 1},
            {"encoder": {"stages": [{"layers": [{}, {"dwconv": {"weight": 1}}]}]}},
        ),
        ({"a.2": 1, "a.0": 2}, {"a": [2, {}, 1]}),
        ({"a.10.b": 1, **{f"a.{i}.b": 0 for i in range(10)}}, {"a": [{"b": 0}] * 10 + [{"b": 1}]}),
        # Not a list: a number at the root, a number beside a name, numbers that no list has.
        ({"0.a": 1}, {"0": {"a": 1}}),
        ({"a.0": 1, "a.b": 2}, {"a": {"0": 1, "b": 2}}),
        ({"a.00": 1}, {"a": {"00": 1}}),
        ({"a.-1": 1}, {"a": {"-1": 1}}),
        ({"a.\u0663": 1, "b.\u00b2": 2}, {"a": {"\u0663": 1}, "b": {"\u00b2": 2}}),
        ({"": 1, "a..b": 2}, {"": 1, "a": {"": {"b": 2}}}),
        # A leaf may be anything, a dict as well.
        ({"a.b": {"c": 1}, "a.d": [1, 2]}, {"a": {"b": {"c": 1}, "d": [1, 2]}}),
    ],
)
def test_nest(flat, tree):
    before = dict(flat)
    assert nest(flat) == tree
    assert flat == before


def test_nest_gives_plain_dicts():
    tree = nest({"a.b.c": 1})
    assert type(tree) is type(tree["a"]) is type(tree["a"]["b"]) is dict


def test_flatten_keeps_the_order():
    tree = {"b": [{"y": 1, "x": 2}, {}, 3], "a": {"c": 4}}
    assert list(flatten(tree).items()) == [("b.0.y", 1), ("b.0.x", 2), ("b.2", 3), ("a.c", 4)]


names = st.lists(st.sampled_from(["", "a", "b", "0", "1", "2", "10", "01"]), min_size=1, max_size=5).map(".".join)


@given(st.dictionaries(names, st.integers(), max_size=8))
def test_flatten_is_the_inverse_of_nest(flat):
    prefixes = {name[:i] for name in flat for i, letter in enumerate(name) if letter == "."}
    if prefixes & flat.keys():
        with pytest.raises(WeightsError, match="begin alike"):
            nest(flat)
    else:
        assert flatten(nest(flat)) == flat


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("pair", [("a", "a.b"), ("a.b", "a.b.c.d"), ("a.0", "a.0.b")])
def test_a_name_that_is_leaf_and_branch(pair, order):
    with pytest.raises(WeightsError, match="begin alike"):
        nest({name: {} for name in pair[::order]})


@pytest.mark.parametrize(
    "flat",
    [
        {"layers.999999999.x": 1},
        {f"layers.1{'0' * 5000}.x": 1},
        {f"layers.{MAX_HOLES + 1}.x": 1},
        {f"{i}.a.11": 1 for i in range(100)},
    ],
    ids=["a billion", "5000 digits", "one too many", "many lists with few gaps each"],
)
def test_gaps_are_not_filled_without_end(flat):
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match="gaps, expected at most 1000"):
            nest(flat)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_as_many_gaps_as_allowed():
    assert len(nest({f"layers.{MAX_HOLES}.x": 1})["layers"]) == MAX_HOLES + 1


def test_depth():
    deepest = ".".join(["a"] * MAX_DEPTH)
    assert flatten(nest({deepest: 1})) == {deepest: 1}
    with pytest.raises(WeightsError, match="at most 64 components"):
        nest({deepest + ".a": 1})
    with pytest.raises(WeightsError, match="at most 64 components"):
        nest({"a." * 1_000_000: 1})


def test_map_tree():
    tree = {"a": [{"b": 1}, {}, 2], "c": (3,)}
    assert map_tree(str, tree) == {"a": [{"b": "1"}, {}, "2"], "c": "(3,)"}
    assert tree == {"a": [{"b": 1}, {}, 2], "c": (3,)}
    assert map_tree(str, 1) == "1"
