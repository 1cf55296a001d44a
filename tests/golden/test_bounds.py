"""What the plan in a trace may ask for is bounded by the trace, and no plan breaks the comparison."""

import copy
import json
import math
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from support.compare_samples import golden, make_trace, port

import npconv
from npconv.cli import main
from npconv.golden import case, islands, runs, segment
from npconv.golden.align import Tensor, doubtful
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose as find_mistakes
from npconv.golden.mistakes import MISTAKES
from npconv.golden.origin import origin
from npconv.golden.readings import Reading
from npconv.golden.report import to_text
from npconv.models.plans import make_plan
from npconv.plan.extent import HELD_ANYWAY, HELD_FOR_EACH, Allowance, extent_of
from npconv.plan.run import run_step
from npconv.plan.shapes import result_shapes
from npconv.plan.step import Step

pytestmark = pytest.mark.long


def step(name, operation, inputs, params=(), **attributes):
    """A step as a file has it."""
    named = {argument: argument for argument in params}
    return {
        "name": name,
        "operation": operation,
        "inputs": list(inputs),
        "params": named,
        "attributes": attributes,
        "layout": "",
        "aliases": [],
    }


def hostile(steps, arrays, params=None):
    """A reference whose steps a stranger wrote, and a trace that leaves it at their end."""
    last = steps[-1]["name"]
    about = {"steps": {"steps": steps, "outputs": [last], "hidden_states": []}}
    reference = make_trace({"a": np.ones(2), **arrays, last: np.ones((1, 2))}, about, params)
    return reference, make_trace({"a": np.ones(2), **arrays, last: np.zeros((1, 2))})


def tokens(count):
    return np.ones((1, count, 1), np.float32)


def joined(times):
    """Steps that each join an array with itself: twice as many tokens, every time."""
    names = ["x", *(f"t{place}" for place in range(times))]
    return [step(new, "join_class_token", [old, old]) for old, new in pairwise(names)]


SCORES = {"num_heads": 1, "scale": 1.0}
MAP = np.ones((1, 1, 60, 60), np.float32)
WINDOW = {"stride": 1, "ceil_mode": True}

GREEDY = {
    "an array joined with itself": (joined(40), {"x": tokens(9000)}),
    "scores of many tokens": ([step("y", "attention_scores", ["x", "x"], **SCORES)], {"x": tokens(30000)}),
    "padding": ([step("y", "depthwise_conv2d", ["x"], ["weight"], stride=1, padding=10**5)], {"x": MAP}),
    "padding and a stride that hides it": (
        [step("y", "depthwise_conv2d", ["x"], ["weight"], stride=10**9, padding=10**5)],
        {"x": MAP},
    ),
    "a window": ([step("y", "average_pool2d", ["x"], kernel_size=10**6, padding=5 * 10**5, **WINDOW)], {"x": MAP}),
    "a size": ([step("y", "resize", ["x"], height=10**5, width=10**5, resample=3)], {"x": MAP[0]}),
    "a thin size": ([step("y", "resize", ["x"], height=10**9, width=1, resample=3)], {"x": MAP[0]}),
    "a crop": ([step("y", "center_crop", ["x"], height=10**5, width=10**5)], {"x": MAP[0]}),
    "stretching": ([step("y", "residual", ["x", "z"])], {"x": tokens(10**5), "z": tokens(10**5).reshape(1, 1, -1)}),
    "a scale that stretches": (
        [step("y", "layer_scale", ["x"], ["layer_scale_parameter"])],
        {"x": np.ones((1, 1, 1, 10**5), np.float32)},
    ),
    "means over nothing": ([step("y", "global_average_pool", ["x"])], {"x": np.ones((1, 10**10, 0, 0), np.float32)}),
    "eps that are many": ([step("y", "grn_relative", ["x"], eps=[1e-6] * 10**5)], {"x": tokens(10**5)[None]}),
    "many products": ([step("y", "linear", ["x"], ["weight"])], {"x": np.ones((10**6, 8), np.float32)}),
    "many steps": (
        [step(f"t{n}", "residual", [f"t{n - 1}" if n else "x"] * 2) for n in range(10**4)],
        {"x": np.ones((1, 2), np.float32)},
    ),
}
PARAMS = {"weight": np.ones((1, 1, 3, 3), np.float32), "layer_scale_parameter": np.ones(10**5, np.float32)}


@pytest.mark.parametrize("what", GREEDY)
def test_a_plan_takes_no_more_than_its_trace_explains(what, tmp_path, capsys):
    steps, arrays = GREEDY[what]
    params = {name: PARAMS[name] for one in steps for name in one["params"]}
    if what == "many products":
        params["weight"] = np.ones((10**6, 8), np.float32)
    reference, mine = hostile(steps, arrays, params)
    held = HELD_FOR_EACH * reference.count_numbers() + HELD_ANYWAY
    comparison = compare(reference, mine)
    tracemalloc.start()
    try:
        suspects = find_mistakes(comparison)
        assert tracemalloc.get_traced_memory()[1] < 3 * 8 * min(held, 10**7)
    finally:
        tracemalloc.stop()
    text = to_text(comparison, None, suspects)
    if what not in ("eps that are many", "stretching", "a scale that stretches"):
        assert "not known: this part is not run again" in text


def test_on_the_command_line_it_is_a_divergence_that_is_not_explained(tmp_path, capsys):
    for name, recorded in zip(("reference", "mine"), hostile(*GREEDY["an array joined with itself"]), strict=True):
        recorded.save(tmp_path / f"{name}.safetensors")
    assert main(["diff", *(str(tmp_path / f"{name}.safetensors") for name in ("reference", "mine"))]) == 1
    out, error = capsys.readouterr()
    assert error == ""
    assert "not run again" in out.replace("\n           ", " ")


def test_memory_that_ends_is_said_and_is_no_mistake(monkeypatch, tmp_path, capsys):
    recorded = {"reference": golden(), "mine": port(mistake=None)}
    wrong = {name: array + np.float32(name.endswith("act")) for name, array in recorded["mine"].items()}
    recorded["mine"] = make_trace(wrong, recorded["mine"].about)
    for name, one in recorded.items():
        one.save(tmp_path / f"{name}.safetensors")

    def none_left(*_, **__):
        raise MemoryError("Unable to allocate 4.00 GiB")

    words = ["diff", *(str(tmp_path / f"{name}.safetensors") for name in recorded)]
    places = ((islands, "run_step", []), (segment, "run_step", ["--strict"]), (runs, "run_changed", ["--strict"]))
    for module, function, more in places:
        with monkeypatch.context() as patch:
            patch.setattr(module, function, none_left)
            assert main([*words, *more]) == 2
        out, error = capsys.readouterr()
        assert (out, error.count("\n")) == ("", 1)
        assert "no memory is left (Unable to allocate 4.00 GiB; " in error
        assert "unexpected" not in error
    monkeypatch.setattr(case, "run_plan", none_left)
    with pytest.raises(MemoryError):
        case.cases("softmax")[0].run()


ARRAYS = {
    "map": (1, 4, 6, 5),
    "row": (2, 1, 1, 7),
    "column": (1, 9, 1, 1),
    "tokens": (2, 7, 6),
    "one": (1, 1, 1),
    "vector": (3, 4),
    "picture": (3, 8, 9),
    "none": (1, 0, 3, 3),
}
WEIGHTS = {"w": (4, 4, 3, 3), "d": (4, 1, 3, 3), "p": (6, 4), "l": (8, 6), "c": (4,), "m": (1, 1, 1, 4), "n": (9,)}
OPERATIONS = {
    "conv2d": [("weight",), {"stride": [1, 3], "padding": [0, 2]}],
    "depthwise_conv2d": [("weight",), {"stride": [1, 50], "padding": [0, 1, 2]}],
    "pointwise_conv2d": [("weight",), {}],
    "linear": [("weight",), {}],
    "layer_norm": [("weight", "bias"), {"eps": [1e-6], "axis": [1, -1]}],
    "activation": [(), {"hidden_act": ["gelu", "relu"]}],
    "grn_strength": [(), {}],
    "grn_relative": [(), {"eps": [1e-6]}],
    "grn_apply": [("weight", "bias"), {}],
    "layer_scale": [("layer_scale_parameter",), {}],
    "residual": [(), {}],
    "global_average_pool": [(), {}],
    "average_pool2d": [
        (),
        {"kernel_size": [1, 3, 40], "stride": [1, 30], "padding": [0, 1, 20], "ceil_mode": [True, False]},
    ],
    "token_mean": [(), {}],
    "map_tokens": [(), {}],
    "tokens": [(), {}],
    "positions_map": [(), {}],
    "class_token": [(), {}],
    "join_class_token": [(), {}],
    "attention_scores": [(), {"num_heads": [1, 3], "scale": [0.5]}],
    "softmax": [(), {"axis": [-1, 0]}],
    "attention_context": [(), {}],
    "resize": [(), {"height": [1, 30], "width": [2, 40], "resample": [2]}],
    "center_crop": [(), {"height": [1, 30], "width": [2, 40]}],
    "normalize": [(), {"mean": [0.5, [0.1, 0.2, 0.3]], "std": [1.0]}],
}
TWO = ("residual", "grn_apply", "positions_map", "class_token", "join_class_token", "attention_scores", "tokens")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_a_step_makes_is_never_more_than_was_counted(operation):
    names, choices = OPERATIONS[operation]
    rng = np.random.default_rng(len(operation))
    ran = 0
    for _ in range(600):
        count = 2 if operation in (*TWO, "attention_context") else 1
        inputs = [rng.choice(list(ARRAYS)) for _ in range(count)]
        weights = {name: str(rng.choice(list(WEIGHTS))) for name in names}
        attributes = {name: copy.copy(values[rng.integers(len(values))]) for name, values in choices.items()}
        chosen = Step("y", operation, tuple(inputs), weights, attributes)
        arrays = [np.ones(ARRAYS[name], np.float32) for name in inputs]
        params = {name: np.ones(WEIGHTS[name], np.float32) for name in weights.values()}
        try:
            with np.errstate(all="ignore"):
                made = run_step(chosen, arrays, params)
        except ValueError:
            continue
        extent = extent_of(chosen, [array.shape for array in arrays], {name: w.shape for name, w in params.items()})
        assert made.size <= extent.made, (inputs, weights, attributes, made.shape)
        ran += 1
    assert ran > 1


def published(name):
    """The plan of a model that has been published, and the shapes of its parameters."""
    if "cvt" in name:
        config = npconv.CvtConfig()
        return make_plan(config, "image_classification"), npconv.CvtForImageClassification.parameter_shapes(config)
    atto = {"hidden_sizes": [40, 80, 160, 320], "depths": [2, 2, 6, 2]} if "atto" in name else {}
    kind = npconv.ConvNextV2ForImageClassification if "v2" in name else npconv.ConvNextForImageClassification
    config = kind.config_class(**atto)
    return make_plan(config, "image_classification"), kind.parameter_shapes(config)


@pytest.mark.parametrize(
    ("name", "size"), [("convnextv2-atto-1k-224", 1024), ("convnext-tiny-224", 1024), ("cvt-13", 224), ("cvt-13", 384)]
)
def test_published_models_are_allowed(name, size):
    """What they make of a picture, from end to end, for the numbers in their trace: far below the allowance."""
    plan, params = published(name)
    shapes = result_shapes(plan, (1, 3, size, size), params)
    held = 3 * size * size + sum(map(math.prod, params.values()))
    allowance = Allowance(held)
    for one in plan:
        allowance.take(one, [shapes[name] for name in one.inputs], params)
    used = HELD_FOR_EACH * held + HELD_ANYWAY - allowance.held
    assert used < 0.6 * HELD_FOR_EACH * held


def test_traces_of_many_tensors_in_another_order_take_time_by_their_number():
    """Each of them doubtful: to look at all others for each would be 10**7 looks."""
    count = 4_000
    tensors = [Tensor(f"m.{n}", "HW", (3, 3), (3, 3), Reading((1, 0)), is_good=True) for n in range(count)]
    looks = 0

    def fits(tensor, reading):
        nonlocal looks
        looks += 1
        return True

    tensors[0] = Tensor("m.0", "HW", (3, 3), (3, 3), Reading(None), is_good=True)
    assert doubtful(tensors, fits) == []
    assert looks == 1


CIRCLES = {
    "of itself": {"inputs": ["y"]},
    "of its alias": {"inputs": ["again"], "aliases": ["again"]},
    "of nothing": {"inputs": []},
    "of a later step": {"inputs": ["z"]},
}


@pytest.mark.parametrize("what", CIRCLES)
@pytest.mark.parametrize("operation", ["layer_norm", "token_mean", "residual", "linear"])
def test_steps_in_a_circle_are_not_run(what, operation):
    names = ["weight", "bias"] if operation == "layer_norm" else []
    steps = [step("y", operation, ["x"], names, eps=1e-6, axis=-1), step("z", "layer_norm", ["y"], names)]
    steps[0].update(CIRCLES[what])
    reference, mine = hostile(steps, {"x": tokens(3)}, {"weight": np.ones(1), "bias": np.ones(1)})
    assert all(one.step.name == "z" for one in find_mistakes(compare(reference, mine)))


def values(rng):
    """A JSON value that a step does not expect."""
    odd = [None, True, -1, 0, 10**30, 1e308, "", "x", [], [1], [[1]], {}, {"a": 1}, [10**9] * 3, -0.5, "pixel_values"]
    return copy.deepcopy(odd[rng.integers(len(odd))])


@pytest.mark.parametrize("family", ["convnextv2", "cvt"])
def test_a_plan_with_anything_in_it_is_no_traceback(family):
    """Attributes, operations, inputs and names of a right plan, a few of them exchanged at random."""
    rng = np.random.default_rng(4)
    reference = golden(family)
    wrong = make_trace({name: a + np.float32(name != "pixel_values") for name, a in port(family).items()})
    places = len(reference.about["steps"]["steps"])
    for _ in range(20):
        about = json.loads(json.dumps(reference.about))
        first = rng.integers(places)
        for place in {0, int(first), *map(int, rng.integers(places, size=3))}:
            one = about["steps"]["steps"][place]
            what = rng.integers(5)
            if what == 0 and one["attributes"]:
                one["attributes"][str(rng.choice(list(one["attributes"])))] = values(rng)
            elif what == 1:
                one["operation"] = str(rng.choice([*OPERATIONS, "print"]))
            elif what == 2:
                one["inputs"] = [str(name) for name in rng.choice(list(reference), size=rng.integers(4))]
            elif what == 3 and one["params"]:
                one["params"] = dict.fromkeys(one["params"], str(rng.choice(list(reference.params))))
            else:
                one["aliases"] = [str(rng.choice(list(reference)))]
        some = [name for place, name in enumerate(reference) if place == 0 or place > first]
        comparison = compare(
            make_trace(dict(reference), about, reference.params),
            make_trace({name: wrong[name] for name in some}, {"input": reference.about["input"]}),
        )
        to_text(comparison, origin(comparison), find_mistakes(comparison, MISTAKES[::19]))
