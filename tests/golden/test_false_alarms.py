"""Right programs are no divergence: PyTorch, ONNX Runtime, the fast engine and plain loops against the float64 truth.

Twenty random models of all families, drawn as for ``tests/reference/test_parity.py``. The tolerances are the default
ones: a multiple of the noise that npconv measures with its own arithmetic, of which these programs know nothing. Each
test prints how near its rival came: the largest error in tolerances, where 1 would be a false alarm.
"""

import copy
import functools
from functools import cache

import numpy as np
import pytest

from npconv.golden.compare import compare
from npconv.golden.made import draw_labels
from npconv.golden.trace_file import Trace, load_trace
from npconv.golden.truth import record
from npconv.models.plans import make_plan
from npconv.plan.gradient_steps import is_gradient
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_plan

pytestmark = pytest.mark.reference

#: Seven models each of ConvNeXt and V2, six of CvT.
MODELS = [(family, seed) for seed in range(7) for family in ("convnext", "convnextv2", "cvt")][:20]


@pytest.fixture(scope="module")
def torch():
    """PyTorch, with its number of threads put back at the end."""
    framework = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    threads = framework.get_num_threads()
    yield framework
    framework.set_num_threads(threads)


@cache
def subject(family, seed):
    """The golden trace of a random model, the same model in PyTorch in float32, and here; and pictures."""
    from reference import parity

    fields, shape = parity.random_case(family, seed)
    pair = parity.make_pair(family, "image_classification", fields, shape, seed=seed)
    pixel_values = pair.pixel_values.astype(np.float32)
    return record(pair.ours, pixel_values), pair.theirs.float().eval(), pair.ours, pixel_values


def check(rival, comparisons):
    """Assert that nothing diverges, and print how near it came."""
    largest = {
        model: max(
            (difference.max_abs / difference.tolerance, difference.name)
            for difference in comparison.differences
            if difference.tolerance
        )
        for model, comparison in comparisons.items()
    }
    worst = max(largest, key=lambda model: largest[model])
    tensors = sum(len(comparison.differences) for comparison in comparisons.values())
    error, name = largest[worst]
    print(f"\n{rival}: {len(comparisons)} models, {tensors} tensors; at most {error:.2f} tolerances ({worst}, {name})")
    assert {model: found.first.name for model, found in comparisons.items() if found.first} == {}


@pytest.mark.parametrize("threads", [1, 2])
def test_pytorch(torch, tmp_path, threads):
    from npconv.golden.recorders.record_pytorch import record as record_pytorch

    torch.set_num_threads(threads)
    comparisons = {}
    for model in MODELS:
        truth, theirs, _, pixel_values = subject(*model)
        file = tmp_path / f"{model[0]}-{model[1]}.safetensors"
        with record_pytorch(theirs, file), torch.inference_mode():
            # Without hidden states, transformers' CvT fails where there is no class token.
            theirs(torch.from_numpy(pixel_values), output_hidden_states=True)
        comparisons[model] = compare(truth, load_trace(file))
    check(f"PyTorch with {threads} thread{'s' * (threads > 1)}", comparisons)


def gradients_of(torch, model, pixel_values, labels, file):
    """Record a step of training of PyTorch, without the change of weights, in a file; return the trace."""
    from npconv.golden.recorders.record_pytorch import record as record_pytorch

    pictures = torch.from_numpy(pixel_values).requires_grad_()
    of_kind = {"i": torch.int64, "f": torch.float32}
    given = {} if labels is None else {"labels": torch.from_numpy(labels).to(of_kind[labels.dtype.kind])}
    with record_pytorch(model, file, gradients=True):
        made = model(pictures, output_hidden_states=True, **given)
        (made.logits.square().sum() / 2 if labels is None else made.loss).backward()
    return load_trace(file)


def test_gradients_of_pytorch(torch, tmp_path):
    torch.set_num_threads(1)
    comparisons, count = {}, 0
    for model in MODELS:
        _, theirs, ours, pixel_values = subject(*model)
        if len(pixel_values) == 1:  # of one picture, PyTorch's gradients of CvT are wrong: see test_recorders.py
            pixel_values = np.concatenate([pixel_values, pixel_values[:, :, ::-1]])
        labels = draw_labels(ours.config, len(pixel_values), seed=model[1])
        truth = record(ours, pixel_values, gradients=True, labels=labels)
        mine = gradients_of(torch, theirs, pixel_values, labels, tmp_path / "mine.safetensors")
        comparisons[model] = found = compare(truth, mine)
        # All that PyTorch has is compared, but for what a block of CvT calls twice, and what parity.py adds to it.
        extra = {name.removesuffix(".grad").rpartition(".")[2] for name in found.extra}
        assert extra <= {"drop_path", "convolution_projection"}
        count += sum(is_gradient(difference.name) for difference in found.differences)
    print(f"\n{count} gradients")
    check("Gradients of PyTorch", comparisons)


def test_pytorch_on_weights_that_were_stored_in_half(torch, tmp_path):
    from npconv.golden.recorders.record_pytorch import record as record_pytorch

    comparisons = {}
    for model in MODELS:
        truth, theirs, _, pixel_values = subject(*model)
        file = tmp_path / f"{model[0]}-{model[1]}.safetensors"
        stored = copy.deepcopy(theirs).half().float()
        with record_pytorch(stored, file), torch.inference_mode():
            stored(torch.from_numpy(pixel_values), output_hidden_states=True)
        comparisons[model] = compare(truth, load_trace(file))
    check("PyTorch on float16 weights", comparisons)


def added_up(terms):
    """The sum of float32 terms, one after the other."""
    return functools.reduce(np.add, terms)


def naive_conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    x = np.pad(x, ((0, 0), (0, 0), *((pad, pad) for pad in pair(padding))))
    (down, right), (dilated_down, dilated_right), each = pair(stride), pair(dilation), weight.shape[1]
    height, width = (
        (size - dilated * (kernel - 1) - 1) // step + 1
        for size, kernel, step, dilated in zip(x.shape[2:], weight.shape[2:], pair(stride), pair(dilation), strict=True)
    )
    group = np.arange(len(weight)) // (len(weight) // groups) * each

    def term(channel, row, column):
        top, left = row * dilated_down, column * dilated_right
        window = x[:, group + channel, top : top + down * height : down, left : left + right * width : right]
        return window[:, :, :height, :width] * weight[:, channel, row, column, None, None]

    result = added_up(term(*place) for place in np.ndindex(weight.shape[1:]))
    return result if bias is None else result + bias[:, None, None]


def naive_depthwise_conv2d(x, weight, bias=None, **settings):
    return naive_conv2d(x, weight, bias, groups=x.shape[1], **settings)


def naive_pointwise_conv2d(x, weight, bias=None):
    return naive_conv2d(x, weight.reshape(*weight.shape[:2], 1, 1), bias)


def naive_linear(x, weight, bias=None):
    result = added_up(x[..., place, None] * weight[:, place] for place in range(x.shape[-1]))
    return result if bias is None else result + bias


def naive_layer_norm(x, weight, bias, *, eps, axis):
    x = np.moveaxis(x, axis, -1)
    mean = added_up(np.moveaxis(x, -1, 0))[..., None] / np.float32(x.shape[-1])
    variance = added_up(np.moveaxis(np.square(x - mean), -1, 0))[..., None] / np.float32(x.shape[-1])
    return np.moveaxis((x - mean) / np.sqrt(variance + np.float32(eps)) * weight + bias, -1, axis)


NAIVE = {
    **{"conv2d": naive_conv2d, "depthwise_conv2d": naive_depthwise_conv2d, "linear": naive_linear},
    **{"pointwise_conv2d": naive_pointwise_conv2d, "layer_norm": naive_layer_norm},
}


def test_plain_loops_with_the_channels_last(torch):
    """Sums of one float32 number after another round more than any library's."""
    comparisons = {}
    for model in MODELS:
        truth, _, ours, pixel_values = subject(*model)
        plan = make_plan(ours.config, "image_classification")
        params = {name: np.float32(array) for name, array in ours.state_dict().items()}
        mine = {"pixel_values": pixel_values.transpose(0, 2, 3, 1)}
        for step, array in run_plan(
            plan,
            {"pixel_values": pixel_values},
            params,
            lambda step: NAIVE.get(step.operation, OPERATIONS[step.operation]),
        ):
            assert array.dtype == np.float32
            mine[step.name] = array.transpose(0, 2, 3, 1) if step.layout == "NCHW" else array
        comparisons[model] = compare(truth, mine)
    check("plain loops, NHWC", comparisons)


def pair(value):
    """The two numbers that one stands for."""
    return (value, value) if isinstance(value, int) else tuple(value)


def outputs(model, logits, hidden_states):
    """A trace of what a program gives out that does not let one look inside."""
    plan = make_plan(model.config, "image_classification")
    trace = Trace()
    for name, array in zip((*plan.hidden_states, *plan.outputs), (*hidden_states, logits), strict=True):
        if name not in trace:
            trace.add(name, array)
    return trace


def test_the_fast_engine(torch):
    comparisons = {}
    for model in MODELS:
        truth, _, ours, pixel_values = subject(*model)
        fast = type(ours)(ours.config, ours.state_dict(), dtype="float32", engine="fast")
        made = fast(pixel_values, output_hidden_states=True, return_dict=True)
        comparisons[model] = compare(truth, outputs(ours, made.logits, made.hidden_states))
    check("npconv fast", comparisons)


@pytest.mark.filterwarnings("ignore")  # the exporter of PyTorch warns of itself
def test_onnx_runtime(torch, tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    comparisons = {}
    for model in MODELS:
        truth, theirs, ours, pixel_values = subject(*model)
        logits, *hidden_states = run_onnx(torch, theirs, pixel_values, str(tmp_path / "model.onnx"))
        comparisons[model] = compare(truth, outputs(ours, logits, hidden_states))
    check("ONNX Runtime", comparisons)


def run_onnx(torch, model, pixel_values, file):
    """Export a model with PyTorch's exporter and run it; return the logits and the hidden states."""
    import onnxruntime

    class Outputs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pixel_values):
            found = self.model(pixel_values=pixel_values, output_hidden_states=True)
            return found.logits, *found.hidden_states

    pictures = torch.from_numpy(pixel_values)
    torch.onnx.export(Outputs().eval(), (pictures,), file, dynamo=True, verbose=False, input_names=["pixel_values"])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"pixel_values": pixel_values})


STAGED = {"num_stages": 3, "hidden_sizes": [8, 12, 10], "depths": [1, 2, 1], "num_labels": 5, "drop_path_rate": 0.2}
CVT = {"embed_dim": [6, 10, 12], "num_heads": [1, 2, 3], "depth": [1, 1, 3], "num_labels": 5}

#: Steps that are no modules of transformers, as the README lists them: the ends of their names.
POOLED = {"pooled"}
GRN = {"grn.strength", "grn.relative"}
TOKENS = {
    *("tokens", "class_token", "attention_residual"),
    *(f"attention.attention.{name}" for name in ("map", "class_token", "query", "key", "value", "scores")),
}


@pytest.mark.parametrize(
    ("family", "task", "fields", "no_modules"),
    [
        ("convnext", "model", STAGED, POOLED),
        ("convnext", "image_classification", STAGED, POOLED),
        ("convnext", "backbone", {**STAGED, "out_features": ["stem", "stage2"]}, set()),
        ("convnextv2", "model", STAGED, POOLED | GRN),
        ("convnextv2", "image_classification", STAGED, POOLED | GRN),
        ("convnextv2", "backbone", {**STAGED, "out_features": ["stage1", "stage3"]}, GRN),
        ("cvt", "model", CVT, TOKENS),
        ("cvt", "image_classification", CVT, TOKENS | POOLED),
    ],
)
def test_names_of_the_recorder_need_no_map(torch, tmp_path, family, task, fields, no_modules):
    """Clean, name for name: no tensor stays without a partner but those that are documented to have none."""
    from reference import parity

    from npconv.golden.recorders.record_pytorch import record as record_pytorch

    pair = parity.make_pair(family, task, fields, (2, 3, 65, 71))
    pixel_values = pair.pixel_values.astype(np.float32)
    with record_pytorch(pair.theirs.float(), tmp_path / "mine.safetensors"), torch.inference_mode():
        pair.theirs(torch.from_numpy(pixel_values))
    truth, mine = record(pair.ours, pixel_values), load_trace(tmp_path / "mine.safetensors")
    comparison = compare(truth, mine)
    assert comparison.first is None

    assert {end_of(name) for name in comparison.missing} == no_modules
    assert {name for name in truth if end_of(name) in no_modules} == set(comparison.missing)
    # A CvT block calls its drop path twice: there is no one tensor of that name. All else that is recorded is compared,
    # or is a container that gives out what a step in it made.
    blocks = [name for name, module in pair.theirs.named_modules() if type(module).__name__ == "CvtLayer"]
    assert set(comparison.extra) == {f"{block}.drop_path" for block in blocks}
    partners = {found.mine for found in comparison.differences}
    assert all(truth.about["aliases"][name] in truth for name in set(mine) - partners - set(comparison.extra))
    print(f"\n{family} {task}: {len(partners)} names the same, {len(comparison.missing)} of no module")


def end_of(name):
    """The part of a step's name that says what it is, without the block or stage it is in."""
    return name.rpartition(".layers.")[2].lstrip("0123456789.") if ".layers." in name else name.rpartition(".")[2]
