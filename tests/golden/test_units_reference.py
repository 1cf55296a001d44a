"""Right programs of fewer bits than float32 are no divergence: PyTorch in half precision, under autocast, in TF32.

Models of all families as in ``test_false_alarms.py``, but with weights and pictures that no unit holds exactly. The
largest error of each kind of run over all models must lie at 0.3 to 0.9 of its tolerance: below 1 is no alarm, and more
than 0.3 says that the tolerance is not too wide either.
"""

from functools import cache

import numpy as np
import pytest

from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.roundings import cut_to_tf32, to_bits
from npconv.golden.trace_file import load_trace
from npconv.golden.truth import record

pytestmark = pytest.mark.reference

#: Five models of each family.
MODELS = [(family, seed) for seed in range(5) for family in ("convnext", "convnextv2", "cvt", "dinov3_convnext")]


@cache
def subject(family, seed, hidden_act=None):
    """The golden trace of a random model, its fields and weights, and pictures."""
    from reference import parity

    fields, shape = parity.random_case(family, seed)
    fields |= {"hidden_act": hidden_act} if hidden_act else {}
    task = parity.find_family(family).main_task
    pair = parity.make_pair(family, task, fields, shape, seed=seed)
    rng = np.random.default_rng(seed)

    def moved(array):  # what is drawn is exact in float16
        return (array * (1 + rng.uniform(-1, 1, array.shape) * 2e-3)).astype(np.float32)

    weights = {name: moved(array) if array.dtype.kind == "f" else array for name, array in pair.weights.items()}
    pixel_values = moved(pair.pixel_values)
    truth = record(type(pair.ours)(pair.ours.config, weights), pixel_values, noise=False)
    return truth, (family, task, fields), weights, pixel_values


def recorded(torch, tmp_path, model, how, **changed):
    """What PyTorch makes of a model in one of the ways, with other fields if they are `changed`."""
    from reference import parity

    from npconv.golden.recorders.record_pytorch import record as record_pytorch

    truth, (family, task, fields), weights, pixel_values = subject(*model)
    theirs = parity.reference.build(family, task, {**fields, **changed})
    parity.reference.load(theirs, weights)
    theirs = theirs.float().eval()
    x = torch.from_numpy(pixel_values)
    unit, _, way = how.partition(" ")
    if unit == "tf32":
        emulate_tf32(torch, theirs, cut_to_tf32 if way == "cut" else lambda array: to_bits(array, 10))
    elif not way:
        theirs, x = theirs.to(getattr(torch, unit)), x.to(getattr(torch, unit))
    dtype = getattr(torch, unit, torch.bfloat16)
    file = tmp_path / "mine.safetensors"
    autocast = torch.autocast("cpu", dtype=dtype, enabled=way == "autocast")
    with torch.inference_mode(), autocast, record_pytorch(theirs, file):
        theirs(x, output_hidden_states=True)
    return truth, load_trace(file), unit


def emulate_tf32(torch, model, fewer):
    """Let convolutions and linear layers take factors of fewer bits."""

    def rounded(tensor):
        return torch.from_numpy(fewer(tensor.detach().numpy()))

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.weight.data = rounded(module.weight)
            module.register_forward_pre_hook(lambda _, given: (rounded(given[0]), *given[1:]))


@pytest.mark.parametrize(
    "ways", [["float16"], ["bfloat16"], ["bfloat16 autocast"], ["tf32 rounded", "tf32 cut"]], ids=" and ".join
)
def test_pytorch_in_fewer_bits(torch, tmp_path, ways):
    largest, own = (0.0, "", ""), 0.0
    for model in MODELS:
        for how in ways:
            truth, mine, unit = recorded(torch, tmp_path, model, how)
            comparison = compare(truth, mine, unit=unit)
            assert comparison.first is None, (model, how, comparison.first.name)
            found = [one for one in comparison.differences if one.tolerance]
            largest = max(largest, *((one.max_abs / one.tolerance, one.name, str(model)) for one in found))
            own = max(own, *(one.own for one in found))
    error, name, model = largest
    print(f"\n{ways}: {len(MODELS)} models, at most {error:.2f} tolerances ({model}, {name}); GELU by itself {own:.2f}")
    assert 0.3 < error < 0.9
    assert 0.3 < own < 0.9


@pytest.mark.parametrize("how", ["float16", "bfloat16", "bfloat16 autocast"])
def test_the_tanh_form_of_gelu_is_seen_and_named(torch, tmp_path, how):
    truth, mine, unit = recorded(torch, tmp_path, ("convnextv2", 0, "gelu"), how, hidden_act="gelu_pytorch_tanh")
    comparison = compare(truth, mine, unit=unit)
    assert comparison.first.name == "convnextv2.encoder.stages.0.layers.0.act"
    assert diagnose(comparison)[0].says == f"tanh GELU, result stored in {unit}"


def test_float16_weights_computed_in_float32_are_no_divergence(torch, tmp_path):
    """A checkpoint in float16: npconv and PyTorch read the same numbers, and compute in float32."""
    import npconv
    from npconv.golden.recorders.record_pytorch import record as record_pytorch

    _, (_, _, fields), weights, pixel_values = subject("convnextv2", 2)
    import transformers

    config = transformers.ConvNextV2Config(**fields)
    theirs = transformers.ConvNextV2ForImageClassification(config)
    theirs.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    theirs.half().save_pretrained(tmp_path / "half")
    theirs = type(theirs).from_pretrained(tmp_path / "half", dtype=torch.float32).eval()
    with record_pytorch(theirs, tmp_path / "mine.safetensors"), torch.inference_mode():
        theirs(torch.from_numpy(pixel_values))
    truth = record(npconv.ConvNextV2ForImageClassification.from_pretrained(tmp_path / "half"), pixel_values)
    comparison = compare(truth, load_trace(tmp_path / "mine.safetensors"))
    assert comparison.first is None
    assert {array.dtype for array in truth.params.values()} == {np.dtype(np.float32)}


@pytest.fixture
def torch():
    framework = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    return framework
