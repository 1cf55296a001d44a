"""The shipped cases: complete, made by the stated rule, passed by the right operations and explained when failed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import npconv.golden
import npconv.layers
from npconv import ConvNextConfig, ConvNextV2Config, CvtConfig
from npconv.errors import GoldenError
from npconv.files.safetensors import load_file, read_metadata, save_file
from npconv.golden.blocks import ARGUMENTS, BACKWARD, BLOCKS
from npconv.golden.case import FOLDER, METADATA, NO_CASES, assert_close, cases, every_case, explain, models, operations
from npconv.golden.measures import FLOOR, MULTIPLE, last_place
from npconv.golden.mistakes.catalogue import CATALOGUE
from npconv.gradients import layer_norm_backward
from npconv.models import convnext, convnextv2, cvt
from npconv.models.parameters import nest
from npconv.plan.operations import OPERATIONS
from weights_tools import make_cases

pytestmark = pytest.mark.long

ALL = list(every_case())
EACH = pytest.mark.parametrize("case", ALL, ids=lambda case: f"{case.operation}-{case.name}")


def case_of(operation, name):
    """Return one case."""
    return next(case for case in cases(operation) if case.name == name)


def test_every_operation_and_block_has_cases():
    backward = {f"{block}{BACKWARD}" for block in ARGUMENTS}
    assert set(operations()) == (OPERATIONS.keys() | BLOCKS.keys() | backward) - NO_CASES.keys()
    assert NO_CASES.keys() <= OPERATIONS.keys()
    for operation in operations():
        names = [case.name for case in cases(operation)]
        assert names
        assert len(names) == len(set(names))


def test_all_files_together_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 3_000_000


@EACH
def test_the_right_operation_passes(case):
    assert_close(case.run(dtype="float32"), case.expected, case=case)


@EACH
def test_a_case_is_made_by_the_rule(case):
    assert case.expected.dtype == np.float64
    assert np.isfinite(case.expected).all()
    assert case.why
    largest = float(np.abs(case.expected).max())
    assert case.tolerance == max(MULTIPLE * case.noise, FLOOR * last_place(largest))
    for array in (*case.inputs, *case.params.values()):
        assert array.dtype in (np.float32, np.uint8, np.int64)
        assert not array.flags.writeable
        if array.dtype == np.float32:
            assert (array == array.astype(np.float16)).all()
    # The last bits of float64 depend on the processor.
    np.testing.assert_allclose(case.run(), case.expected, rtol=0, atol=1e-12 * largest)


@pytest.mark.parametrize("operation", ["global_response_norm", "attention"])
def test_a_layer_made_of_parts_is_the_layer(operation):
    for case in cases(operation):
        made = getattr(npconv.layers, operation)(*case.inputs, **case.params, **case.attributes)
        assert (made == case.run(dtype="float32")).all()


@pytest.mark.parametrize(
    ("operation", "layer", "config_class"),
    [("convnext_block", convnext.layer, ConvNextConfig), ("convnextv2_block", convnextv2.layer, ConvNextV2Config)],
)
def test_a_block_is_the_models_block(operation, layer, config_class):
    for case in cases(operation):
        config = config_class(**case.attributes)
        assert (layer(*case.inputs, **nest(case.params), config=config) == case.run(dtype="float32")).all()


def test_a_cvt_block_is_the_models_block():
    for case in cases("cvt_block"):
        x, like = case.inputs
        config = CvtConfig(**case.attributes["config"])
        made = cvt.layer(x, *like.shape[2:], **nest(case.params), config=config, stage_index=0)
        assert (made == case.run(dtype="float32")).all()


@pytest.mark.parametrize("family", ["convnext", "convnextv2", "cvt"])
def test_there_is_a_golden_trace_of_a_small_model(family):
    trace = npconv.golden.model_trace(family)
    assert trace.about["family"] == family
    assert {"pixel_values", "classifier"} <= set(trace)
    assert trace.params
    assert trace.about["noise"]


def test_a_trace_is_enough_for_a_port_of_its_own():
    """The model is built of what the trace says; `compare` finds nothing."""
    reference = npconv.golden.model_trace("convnext")
    config = ConvNextConfig.from_dict(reference.about["config"])
    model = npconv.ConvNextForImageClassification(config, dict(reference.params))
    with npconv.golden.trace() as mine:
        model(reference["pixel_values"])
    comparison = npconv.golden.compare(reference, mine)
    assert comparison.first is None
    assert len(comparison.differences) == len(reference)


def test_an_unknown_family_lists_those_that_there_are():
    assert models() == ["convnext", "convnextv2", "cvt"]
    with pytest.raises(GoldenError, match="expected a family with a trace: convnext, convnextv2, cvt; got 'vit'"):
        npconv.golden.model_trace("vit")


def test_an_unknown_operation_lists_those_that_there_are():
    with pytest.raises(GoldenError, match=r"expected an operation with cases: activation, .*softmax.*; got 'gelu'"):
        cases("gelu")
    with pytest.raises(GoldenError, match="expected an operation with cases"):
        cases("models-cvt")


def test_a_right_result_passes_by_itself():
    case = case_of("linear", "square")
    assert_close(case.run(dtype="float32"), case=case)
    assert_close(case.expected.tolist(), case.expected, case=case)


def test_a_wrong_result_is_explained():
    case = case_of("layer_norm", "tiny_variance_map")
    actual = case.run(CATALOGUE["layer-norm-eps-1e-5"]).astype(np.float32)
    with pytest.raises(AssertionError) as failure:
        assert_close(actual, case.expected, case=case)
    text = str(failure.value)
    assert text.startswith("layer_norm, case tiny_variance_map (standard deviation 1e-3: shows eps): max error ")
    assert f"tolerance {case.tolerance:.3g}, " in text
    assert "; fits LayerNorm eps 1e-5: " in text
    difference = np.abs(actual - case.expected)
    place = [int(i) for i in np.unravel_index(difference.argmax(), difference.shape)]
    assert f" at {place}, got {float(actual[tuple(place)]):.9g}, expected " in text


@pytest.mark.parametrize("form", ["function of all gradients", "function of one gradient"])
def test_gradients_are_checked_one_by_one(form):
    for case in cases("layer_norm_backward"):
        attributes = dict(case.attributes)
        if form == "function of one gradient":
            actual = OPERATIONS["layer_norm_backward"](*case.inputs, weight=case.params["weight"], **attributes)
        else:
            index = ("x", "weight", "bias").index(attributes.pop("wrt"))
            found = layer_norm_backward(*case.inputs, case.params["weight"], **attributes)
            actual = found[index]
        assert_close(actual, case.expected, case=case)


def test_a_gradient_of_a_weight_in_other_axes_is_no_layout():
    """Nobody knows what its axes are called."""
    case = case_of("pointwise_conv2d_backward", "expand_weight")
    with pytest.raises(AssertionError, match=r"expected shape \(20, 5\), got \(5, 20\); no known mistake explains it"):
        assert_close(case.expected.T, case.expected, case=case)


def test_a_mistake_that_gives_no_numbers_is_named():
    case = case_of("layer_norm", "constant")
    with pytest.raises(AssertionError, match=r"24 of 24 numbers are not finite, first nan at \[0, 0, 0, 0\]; fits Lay"):
        assert_close(case.run(CATALOGUE["layer-norm-eps-0"]), case.expected, case=case)


def test_another_layout_is_named():
    case = case_of("global_response_norm", "two_samples")
    with pytest.raises(
        AssertionError, match=r"expected shape \(2, 5, 4, 3\), got \(2, 4, 3, 5\); fits NHWC read as NCHW"
    ):
        assert_close(case.expected.transpose(0, 2, 3, 1), case.expected, case=case)


@pytest.mark.parametrize(
    ("operation", "axes", "said"),
    [
        ("normalize", (1, 2, 0), "HWC read as CHW"),
        ("linear", (0, 2, 1), "NDT read as NTD"),
        ("global_response_norm", (0, 2, 3, 1), "NHWC read as NCHW"),
    ],
)
def test_numbers_of_another_layout_in_the_right_shape_are_named(operation, axes, said):
    case = cases(operation)[0]
    moved = case.expected.transpose(axes)
    assert explain(case, moved) == [f"fits {said}: 0.0e+00"]
    if len(axes) == 4 or axes[0] == 0:  # diagnosis knows these orders in an array of the right shape, too
        assert explain(case, moved.reshape(case.expected.shape)) == [f"fits {said}: 0.0e+00"]


@pytest.mark.parametrize(
    ("actual", "said"),
    [
        ([[1, 2], [3]], "got a list: 'setting an array element"),
        ("x", "got a str: 'its dtype is <U1'"),
        (None, "got a NoneType: 'its dtype is object'"),
        (1j, "got a complex: 'its dtype is complex128'"),
        (np.array(["2020-01-01"], "M8[D]"), "got a ndarray: "),
    ],
)
def test_what_is_no_array_of_numbers_is_one_line(actual, said):
    case = case_of("linear", "tokens")
    for arguments in ((actual, case.expected), (case.expected, actual)):
        if arguments[1] is not None:
            with pytest.raises(GoldenError, match="expected an array of real numbers, ") as failure:
                assert_close(*arguments, case=case)
            assert said in str(failure.value)
            assert "\n" not in str(failure.value)


@pytest.mark.parametrize("actual", [np.zeros((1, 2)), np.full((2, 5, 9), 7.5), np.float32(3)])
def test_a_result_that_nothing_explains(actual):
    with pytest.raises(AssertionError, match="no known mistake explains it"):
        assert_close(actual, case=case_of("linear", "tokens"))


def test_one_wrong_number_is_no_known_mistake():
    case = case_of("conv2d", "stem")
    actual = case.expected.copy()
    actual[1, 2, 0, 3] += 1
    with pytest.raises(AssertionError, match=r"max error 1 at \[1, 2, 0, 3\].*, 1 of 120 outside; no known mistake"):
        assert_close(actual, case=case)


def test_half_precision_has_a_tolerance_of_its_own():
    case = case_of("linear", "square")
    rounded = case.expected.astype(np.float16)
    with pytest.raises(AssertionError):
        assert_close(rounded, case=case)
    assert_close(rounded, case=case, unit="float16")
    with pytest.raises(GoldenError, match="expected unit to be one of float32, float16, bfloat16, tf32; got 'int8'"):
        assert_close(rounded, case=case, unit="int8")
    with pytest.raises(GoldenError, match="expected unit to be one of"):
        assert_close(rounded, case=case, unit=["float32"])


def test_explain_is_empty_handed_for_what_is_right_within_rounding():
    case = case_of("softmax", "scores")
    assert explain(case, case.expected) == ["no known mistake explains it"]


@pytest.fixture
def copies(tmp_path):
    """A copy of the files that a test may change."""
    return Path(shutil.copytree(FOLDER, tmp_path / "cases"))


def test_the_files_are_what_the_tool_makes(capsys):
    assert make_cases.main(["--check", str(FOLDER)]) == 0
    assert "96 of 96 files are the same" in capsys.readouterr().out


def changed(path, tensor=None, **entry):
    """Write a file of cases again with something else in it."""
    tensors = {name: array.copy() for name, array in load_file(path).items()}
    content = json.loads(read_metadata(path)[METADATA])
    if tensor:
        tensors[tensor].flat[0] += 1
    next(iter(content["cases"].values())).update(entry)
    save_file(tensors, path, {METADATA: json.dumps(content)})


def test_the_check_tells_what_differs(copies, capsys):
    changed(copies / "residual.safetensors", "map.expected")
    changed(copies / "linear.safetensors", "tokens.input.0")
    changed(copies / "softmax.safetensors", tolerance=1.0)
    changed(copies / "tokens.safetensors", why="otherwise")
    (copies / "layer_scale.safetensors").unlink()
    (copies / "else.safetensors").write_bytes((copies / "residual.safetensors").read_bytes())
    assert make_cases.main(["--check", str(copies)]) == 1
    said = capsys.readouterr().out
    for line in (
        "residual.safetensors: map.expected differs",
        "linear.safetensors: tokens.input.0 differs",
        "softmax.safetensors: scores: tolerance 1, now ",
        "tokens.safetensors: without_class_token is described otherwise",
        "layer_scale.safetensors: is not there",
        "else.safetensors: is no case",
    ):
        assert line in said


def test_making_the_files_again_takes_away_what_is_no_case(copies):
    (copies / "else.safetensors").write_bytes((copies / "residual.safetensors").read_bytes())
    (copies / "foreign.safetensors").write_bytes(b"")
    assert make_cases.main([str(copies)]) == 0
    assert {path.name for path in copies.iterdir()} == {path.name for path in FOLDER.iterdir()} | {
        "foreign.safetensors"
    }
