"""Which tensors belong together, and in which order of axes they are read."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npconv.errors import GoldenError
from npconv.golden.align import Tensor, as_the_others, count_orders, doubtful, read
from npconv.golden.pairing import pair
from npconv.golden.readings import AS_IT_IS, readings

NAMES = ["convnextv2.embeddings.layernorm", "convnextv2.encoder.stages.0.layers.1", "classifier"]
ALIASES = {
    "convnextv2.embeddings": "convnextv2.embeddings.layernorm",
    "convnextv2.encoder.stages.0": "convnextv2.encoder.stages.0.layers.1",
}


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_equal_names_in_the_order_of_the_reference():
    pairs = pair(NAMES, [NAMES[2], "loss", NAMES[0]])
    assert list(pairs.names.items()) == [(NAMES[0], NAMES[0]), (NAMES[2], NAMES[2])]
    assert (pairs.missing, pairs.extra) == ([NAMES[1]], ["loss"])


@pytest.mark.parametrize(
    "mine",
    [
        ["embeddings.layernorm", "encoder.stages.0.layers.1", "classifier"],
        ["embeddings", "encoder.stages.0", "classifier"],
        ["module.convnextv2.embeddings", "_orig_mod.model.encoder.stages.0", "model.classifier"],
    ],
)
def test_prefixes_and_aliases(mine):
    pairs = pair(NAMES, mine, ALIASES)
    assert pairs.names == dict(zip(NAMES, mine, strict=True))
    assert pairs.missing == pairs.extra == []


def test_a_reference_without_prefix():
    assert pair(["encoder.stages.0"], ["cvt.encoder.stages.0"]).names == {"encoder.stages.0": "cvt.encoder.stages.0"}


def test_an_exact_name_goes_before_an_alias_and_the_alias_is_no_extra():
    pairs = pair(NAMES, ["convnextv2.embeddings", *NAMES], ALIASES)
    assert pairs.names == {name: name for name in NAMES}
    assert pairs.extra == []
    assert pairs.second == {NAMES[0]: ["convnextv2.embeddings"]}


def test_a_map_goes_before_everything():
    pairs = pair(NAMES, ["head", "classifier"], renamed={"head": "classifier"})
    assert pairs.names == {"classifier": "head"}


def test_a_map_may_speak_of_more_than_a_trace_holds():
    """So one map serves a fine trace and a coarse one."""
    pairs = pair(NAMES, ["head", "other"], renamed={"head": "classifier", "stem": NAMES[0]})
    assert pairs.names == {"classifier": "head"}
    assert pairs.unused == ["stem"]


def test_a_map_the_wrong_way_round_is_recognised():
    with pytest.raises(GoldenError, match=r"which REFERENCE lacks; .*; is it \{reference: mine\}\?"):
        pair(NAMES, ["head"], renamed={"classifier": "head"})


@pytest.mark.parametrize(
    ("renamed", "said"),
    [
        ({"haed": "classifier"}, "'haed', which MINE lacks; nearest there: 'head'"),
        ({"head": "clasifier"}, "'clasifier', which REFERENCE lacks; nearest there: 'classifier'"),
        ({"head": "classifier", "top": "classifier"}, "gives two tensors of MINE the name"),
    ],
)
def test_a_wrong_map_is_refused(renamed, said):
    with pytest.raises(GoldenError, match=said):
        pair(NAMES, ["head", "top"], renamed=renamed)


def test_nothing_common_tells_the_nearest():
    with pytest.raises(GoldenError, match=r"'clasifer' \(nearest in REFERENCE: 'classifier'\)"):
        pair(NAMES, ["clasifer"])
    with pytest.raises(GoldenError, match="3 in REFERENCE and 0 in MINE"):
        pair(NAMES, [])


@settings(deadline=None)
@given(
    st.permutations([0, 1, 2, 3]),
    st.lists(st.integers(1, 4), min_size=4, max_size=4),
)
def test_every_permutation_is_found(axes, shape):
    reference = values(*shape)
    mine = np.ascontiguousarray(reference.transpose(axes))
    found = read(reference, mine, 1e-7, letters="NCHW")
    assert found is not None
    reading, measures = found
    np.testing.assert_array_equal(reading.of(mine, reference.shape), reference)
    assert measures.max_abs == 0
    if reading is not AS_IT_IS and len(set(shape)) == 4 and 1 not in shape:
        assert reading.says == "read as " + "".join("NCHW"[axis] for axis in axes)


@pytest.mark.parametrize(
    ("shape", "mine", "says"),
    [
        ((1, 5, 6, 7), (1, 6, 7, 5), "read as NHWC"),
        ((1, 5, 6, 7), (6, 7, 5), "read as HWC"),
        ((2, 5, 6, 7), (2, 6, 7, 5), "read as NHWC"),
        ((2, 5), (5, 2), "read as CN"),
        ((2, 5), (2, 5, 1, 1), ""),
        ((2, 5, 1, 1), (2, 1, 1, 5), ""),
        ((1, 5, 6, 7), (5, 6, 7), ""),
    ],
)
def test_what_a_reading_is_called(shape, mine, says):
    letters = "NCHW"[: len(shape)]
    assert next(readings(shape, mine, letters)).says == says


@pytest.mark.parametrize("mine", [(2, 5, 42), (2, 5, 6, 8), (2, 5, 6), (0,), ()])
def test_other_sizes_cannot_be_read(mine):
    assert read(values(2, 5, 6, 7), values(*mine), 1e-7) is None


def test_the_nearest_of_several_readings_that_all_diverge():
    reference = values(2, 5, 6, 6)
    mine = np.ascontiguousarray(reference.transpose(0, 2, 3, 1)) + np.float32(1e-3)
    found = read(reference, mine, 1e-7, letters="NCHW")
    assert found is not None
    assert found[0].says == "read as NHWC"
    assert found[1].max_abs == pytest.approx(1e-3, rel=1e-3)


def test_a_square_map_is_read_as_it_is_unless_another_order_is_right():
    reference = values(2, 5, 6, 6)
    swapped = reference.swapaxes(2, 3)
    found = read(reference, swapped, 1e-7, letters="NCHW")
    assert found is not None
    assert found[0].says == "read as NCWH"
    nearly = read(reference, swapped + np.float32(1e-3), 1e-7, letters="NCHW")
    assert nearly is not None
    assert nearly[0] is AS_IT_IS


def test_strict_reads_nothing_but_the_same_shape():
    reference = values(2, 5, 6, 6)
    assert read(reference, np.ascontiguousarray(reference.transpose(0, 2, 3, 1)), 1e-7, layout="strict") is None
    assert read(reference[:, :, :1, :1], reference[:, :, 0, 0], 1e-7, layout="strict") is None
    found = read(reference, reference.swapaxes(2, 3), 1e-7, layout="strict")
    assert found is not None
    assert found[1].max_abs > 0.1


def test_without_letters_axes_have_numbers():
    assert {reading.says for reading in readings((2, 3, 4), (4, 2, 3))} == {"axes read in the order 1 2 0"}


def test_many_axes_do_not_grow_into_many_readings():
    shape = (2,) * 9
    assert list(itertools.islice(readings(shape, shape), 5)) == [AS_IT_IS]


def tensor(name: str, shape: tuple[int, ...], mine: tuple[int, ...], axes=None, good: bool = True) -> Tensor:
    letters = {4: "NCHW", 3: "NTD"}[len(shape)]
    [reading] = [reading for reading in readings(shape, mine, letters) if reading.axes == axes]
    return Tensor(name, letters, shape, mine, reading, good)


SWAP, LAST = (0, 1, 3, 2), (0, 3, 1, 2)
SQUARE, WIDE = (2, 5, 6, 6), (2, 8, 7, 7)


def names_of(tensors) -> list[str]:
    return [found.name for found in doubtful(tensors, lambda tensor, reading: False)]


def test_rows_and_columns_of_one_square_map_are_not_exchanged():
    right = [tensor(f"layers.{i}.norm", SQUARE, SQUARE) for i in range(3)]
    assert names_of([*right, tensor("layers.1.dwconv", SQUARE, SQUARE, SWAP)]) == ["layers.1.dwconv"]
    assert names_of([tensor("layers.1.dwconv", SQUARE, SQUARE, SWAP)]) == ["layers.1.dwconv"]
    assert names_of(right) == []


def test_rows_and_columns_of_one_square_map_in_a_channels_last_trace():
    last = (2, 6, 6, 5)
    right = [tensor(f"layers.{i}.norm", SQUARE, last, LAST) for i in range(3)]
    assert names_of(right) == []
    assert names_of([*right, tensor("layers.1.dwconv", SQUARE, last, (0, 3, 2, 1))]) == ["layers.1.dwconv"]


def test_a_trace_that_exchanges_rows_and_columns_everywhere_is_believed():
    swapped = [tensor(name, SQUARE, SQUARE, SWAP) for name in ("pixel_values", "norm", "dwconv")]
    assert names_of(swapped) == []
    assert names_of([*swapped, tensor("act", SQUARE, SQUARE, good=False)]) == []  # it diverges; no witness
    both = [*swapped, tensor("even", SQUARE, SQUARE)]
    assert doubtful(both, lambda tensor, reading: True) == []  # of equal values, say: good in either order
    assert names_of(both) == ["pixel_values", "norm", "dwconv"]


def test_a_cube_is_read_as_modules_of_its_name_are_where_shapes_decide():
    """transformers' ConvNeXt gives out some modules with channels last, some not."""
    cube = (2, 6, 6, 6)
    trace = [
        tensor("stages.0.dwconv", SQUARE, SQUARE),
        tensor("stages.0.layernorm", SQUARE, (2, 6, 6, 5), LAST),
        tensor("stages.1.dwconv", cube, cube),
        tensor("stages.1.layernorm", cube, cube, LAST),
    ]
    assert names_of(trace) == []
    assert names_of([*trace, tensor("stages.2.dwconv", cube, cube, LAST)]) == ["stages.2.dwconv"]


def test_a_wrong_square_map_is_read_as_the_shapes_suggest_where_no_right_one_tells():
    last, swapped = (2, 6, 6, 5), (0, 3, 2, 1)
    wrong = tensor("patches", SQUARE, last, swapped, good=False)
    assert as_the_others(wrong, {}).axes == LAST
    wide = tensor("stages.1.norm", WIDE, (2, 7, 7, 8), swapped)
    assert as_the_others(wrong, count_orders([wide])).axes == swapped
    assert as_the_others(wrong, {}, count_orders([wide])).axes == swapped
    assert as_the_others(Tensor("patches", "NCHW", SQUARE, (2, 6), None, False), {}) is None


def test_pixel_values_alone_are_nothing_in_common():
    wanted = ["pixel_values", "classifier"]
    with pytest.raises(GoldenError, match=r"no name of MINE is in REFERENCE: 'clasifer' \(nearest"):
        pair(wanted, ["pixel_values", "clasifer"])
    assert pair(wanted, ["pixel_values"]).names == {"pixel_values": "pixel_values"}
    assert pair(["pixel_values"], ["pixel_values", "classifier"]).extra == ["classifier"]


def test_long_names_are_cut_in_errors():
    with pytest.raises(GoldenError) as raised:
        pair(["x" * 10**6], ["y" * 10**6])
    assert len(str(raised.value)) < 1000
    with pytest.raises(GoldenError) as raised:
        pair(["a"], ["a"], renamed={"y" * 10**6: "a"})
    assert len(str(raised.value)) < 1000
