"""The catalogue: every mistake that can be seen is caught by the cases, and what cannot be seen is shown equal."""

from collections import defaultdict

import numpy as np
import pytest

from npconv import ConvNextConfig
from npconv.golden.case import cases, every_case, explain, run_mistake
from npconv.golden.mistakes import MISTAKES, apply
from npconv.golden.mistakes.catalogue import (
    CATALOGUE,
    drop,
    edit,
    mistake,
    of_input,
    of_output,
    replaced,
    swap,
    twice,
)
from npconv.models.plans import make_plan
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Step
from tests.golden.proof import detection_table

pytestmark = pytest.mark.long

VISIBLE = [mistake for mistake in MISTAKES if not mistake.invisible and not mistake.unseen]
INVISIBLE = [mistake for mistake in MISTAKES if mistake.invisible]

#: Mistakes in what a step takes, which show in blocks and models only; so does TF32, which keeps what float16 can hold.
REWIRED = {
    *(entry.name for entry in VISIBLE if entry.name.endswith(("-tf32-factors", "-tf32-cut-factors"))),
    "classifier-before-norm",
    "crop-before-resize",
    *(f"gradients-{name}" for name in ("branch-cut", "residual-twice", "branch-twice")),
    "head-norm-before-pooling",
    "head-takes-all-tokens",
    "key-and-value-swapped",
    "query-and-key-swapped",
    "residual-after-convolution",
    "residual-after-norm",
}

#: Of the largest number: equal forms differ by rounding of float64, 2**-53 each time, which an eps near the variance
#: of a case can make a thousand times larger; float32 would be 2**-24.
EQUAL = 2.0**-40


@pytest.fixture(scope="module")
def detected():
    """Mistake -> (operation, case) -> error in tolerances."""
    table = defaultdict(dict)
    for operation, case, name, error in detection_table():
        table[name][operation, case] = error
    return table


def named(operation, name):
    """Return one case."""
    return next(case for case in cases(operation) if case.name == name)


def test_there_are_enough_and_each_is_described():
    assert len(VISIBLE) >= 45
    assert INVISIBLE
    for entry in MISTAKES:
        assert entry.operation in OPERATIONS
        assert entry.says
        assert entry.origin
        assert entry.function.__doc__, entry.name
    both = [(entry.operation, entry.says) for entry in MISTAKES if not entry.invisible]
    assert len(both) == len(set(both)), "two mistakes of an operation read the same"


def test_none_is_lost():
    """Their names and sentences stand in the README: ``test_proof.py`` compares them, in order."""
    assert (len(MISTAKES), len(VISIBLE)) == (500, 479)


@pytest.mark.parametrize("entry", VISIBLE, ids=lambda entry: entry.name)
def test_a_visible_mistake_is_ten_tolerances_off(entry, detected):
    own = {place: error for place, error in detected[entry.name].items() if place[0] == entry.operation}
    assert max(own.values(), default=0) >= 10 or entry.name in REWIRED
    assert max(detected[entry.name].values()) >= 10


@pytest.mark.parametrize("entry", VISIBLE, ids=lambda entry: entry.name)
def test_a_mistake_is_caught_by_its_numbers_not_by_failing(entry, detected):
    """That is, there is a case where it gives a result, which is wrong."""
    seen = [named(*place) for place, error in detected[entry.name].items() if error >= 10]
    assert any(run_mistake(case, entry) is not None for case in seen)


@pytest.mark.parametrize("entry", VISIBLE, ids=lambda entry: entry.name)
def test_a_mistake_is_named(entry, detected):
    """Some case tells it from all others; the result is rounded to float32, as a port's would be."""
    places = sorted(detected[entry.name], key=lambda place: (place[0] != entry.operation, "classifier" in place[0]))
    said = []
    for place in places:
        case = named(*place)
        if detected[entry.name][place] >= 10 and (made := run_mistake(case, entry)) is not None:
            with np.errstate(over="ignore"):
                said += explain(case, made.astype(np.float32))
            if said[-1].startswith(f"fits {entry.says}: "):
                return
    pytest.fail(f"{entry.name} is not named, but: {said}")


@pytest.mark.parametrize("entry", INVISIBLE, ids=lambda entry: entry.name)
def test_what_is_called_invisible_is_equal(entry):
    seen = [case for case in every_case() if case.makes(entry)]
    assert seen
    for case in seen:
        right = case.run()
        limit = EQUAL * float(np.abs(right).max())
        np.testing.assert_allclose(case.run(entry), right, rtol=0, atol=limit, err_msg=f"{case.operation} {case.name}")


@pytest.mark.parametrize(
    ("name", "case"), [("gelu-erf", ("activation", "gelu")), ("gelu-quick", ("activation", "quick_gelu"))]
)
def test_a_mistake_does_not_apply_where_it_is_right(name, case):
    assert not named(*case).makes(CATALOGUE[name])


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("layer-norm-eps-1e-6", "map", "tokens"),
        ("layer-norm-eps-1e-5", "tokens", "map"),
        ("layer-norm-eps-1e-12", "pooled", "map"),
        ("layer-norm-over-width", "tokens", "map"),
    ],
)
def test_an_eps_and_an_axis_apply_to_other_steps_only(name, right, wrong):
    assert not named("layer_norm", right).makes(CATALOGUE[name])
    assert named("layer_norm", wrong).makes(CATALOGUE[name])


@pytest.mark.parametrize("name", ["attention-scale-of-one-head", "attention-one-head", "scores-heads-interleaved"])
def test_heads_are_not_mistaken_where_there_is_one(name):
    assert not named("attention", "one_head").makes(CATALOGUE[name])
    assert named("attention", "three_heads").makes(CATALOGUE[name])


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (2, 5)])
def test_a_transposed_weight_is_a_transpose_or_a_reshape(rows, columns):
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(rows, columns)), rng.normal(size=(1, 4, columns))
    read = weight.reshape(columns, rows)  # as (inputs, outputs)
    made = CATALOGUE["linear-weight-transposed"].function(x, weight=weight)
    np.testing.assert_allclose(made, x @ read, atol=1e-14)
    assert (read == weight.T).all() == (rows == 1) or rows == columns


def test_apply_changes_some_steps_and_leaves_the_others():
    plan = make_plan(ConvNextConfig(num_stages=1, hidden_sizes=[4], depths=[2]), "image_classification")
    blocks = [f"convnext.encoder.stages.0.layers.{i}" for i in range(2)]
    entry = CATALOGUE["residual-after-norm"]
    changed, function_of = apply(entry, plan)
    assert [changed[block].inputs[0] for block in blocks] == [f"{block}.layernorm" for block in blocks]
    once, _ = apply(entry, plan, only=blocks[1:])
    assert once[blocks[0]] == plan[blocks[0]]
    assert once[blocks[1]].inputs == changed[blocks[1]].inputs
    assert function_of(changed[blocks[0]]) is entry.function
    assert function_of(changed["classifier"]) is OPERATIONS["linear"]


def test_a_mistake_that_finds_nothing_to_rewire_is_not_made():
    case = named("residual", "map")
    entry = CATALOGUE["residual-after-norm"]
    assert entry.at(case.plan().steps[0], case.plan()) is None


def shown(*inputs, bias=None, **arguments):
    """An operation that gives back what it takes."""
    return inputs, bias, arguments


def test_an_edit_applies_where_it_changes_something():
    step = Step("x", "conv2d", ("y",), {"weight": "w"}, {"stride": [1, 1], "eps": 1e-6})
    others = [edit(stride=2), edit(stride=(1, 2)), edit(eps=0.0), edit(weight=abs), edit(stride=lambda stride: stride)]
    assert all(other.applies(step) for other in others)
    assert not any(other.applies(step) for other in (edit(stride=1), edit(eps=1e-6), edit(cls_token=abs), drop("bias")))
    assert drop("weight").applies(step)


def test_what_edits_do():
    assert edit(eps=0, weight=lambda weight: -weight).call(shown, 1, weight=2, eps=3) == (
        (1,),
        None,
        {"weight": -2, "eps": 0},
    )
    assert drop("bias", "weight").call(shown, 1, weight=5, bias=6) == ((1,), None, {"weight": 1})
    assert drop("shift").call(shown, 1, shift=5) == ((1,), None, {"shift": 0})
    assert swap("one", "other").call(shown, one=1, other=2) == ((), None, {"one": 2, "other": 1})
    assert twice().call(lambda x, y, *, z: x * y + z, 2, 3, z=4) == 34
    assert of_input(abs).call(shown, -1, -2) == ((1, -2), None, {})
    assert of_output(abs).call(lambda x: -x, 3) == 3
    assert replaced(max).call(shown, 1, 2, eps=3) == 2


def test_two_mistakes_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two mistakes are called gelu-tanh"):
        mistake("activation", "gelu-tanh", "tanh GELU", "here")(lambda x, hidden_act: x)
