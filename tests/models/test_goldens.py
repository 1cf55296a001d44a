"""npconv gives the numbers of transformers in every golden file, in all three dtypes, without torch."""

import hashlib
import json
import re
from importlib import import_module

import numpy as np
import pytest
from support import golden_files

from npconv.backend import device_module, to_host
from npconv.errors import UnavailableError
from npconv.files.safetensors import load_file, read_metadata
from npconv.layers import ACTIVATIONS
from npconv.models import convnextv2, cvt

ALL = pytest.mark.parametrize("name", golden_files.NAMES)

#: float64: the goldens are rounded to within 2**-36 of an array's largest number (half a step, and the power of two
#: above that number is at most twice it). The two computations themselves differ by less than 1e-13.
TOLERANCE = 2.0**-36 + 1e-13

UNIT_ROUNDOFF = {"float32": 2.0**-24, "float16": 2.0**-11}


def rounding_bound(golden, dtype):
    """Return how far the outputs may be off in a narrower dtype, relative to an array's largest number.

    Each layer rounds its result, and the sums in it, by about one unit roundoff of its largest number. Normalizations
    between the layers keep these errors from growing, so they add up at worst: to the number of layers. The factor 4
    is for a normalization that divides by a standard deviation smaller than the largest number.
    """
    layers = sum(name.endswith(".weight") for name in golden.weights)
    return 4 * layers * UNIT_ROUNDOFF[dtype]


def outputs_of(golden, dtype, device="cpu"):
    """Return all outputs by the names in the file, losses among them."""
    arrays = golden_files.outputs_of(golden.model(dtype, device), golden.pixel_values)
    for name, problem_type in golden.problem_types.items():
        model = golden.model(dtype, device, problem_type=problem_type)
        arrays[f"loss.{name}"] = model(golden.pixel_values, labels=golden.labels[name]).loss
    return {name: to_host(array) for name, array in arrays.items()}


def compare(golden, dtype, tolerance, device="cpu"):
    """Check that every output is there, in the dtype of the model, and near the expected one."""
    actual = outputs_of(golden, dtype, device)
    assert set(actual) == set(golden.expected)
    for name, expected in golden.expected.items():
        assert actual[name].dtype == dtype
        assert golden_files.distance(actual[name], expected) <= tolerance, name


@ALL
def test_float64(name):
    compare(golden_files.load(name), "float64", TOLERANCE)


@ALL
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_narrower_dtypes(name, dtype):
    golden = golden_files.load(name)
    compare(golden, dtype, rounding_bound(golden, dtype))


@pytest.mark.parametrize("hidden_act", golden_files.ACTIVATIONS_OF_V1)
def test_v2_applies_every_activation_of_v1(hidden_act):
    golden = golden_files.with_activation("convnextv2-patch_size_2", hidden_act)
    compare(golden, "float64", TOLERANCE)
    for dtype in UNIT_ROUNDOFF:
        compare(golden, dtype, rounding_bound(golden, dtype))
    with_gelu = golden_files.load("convnextv2-patch_size_2").expected["logits"]
    assert golden_files.distance(golden.expected["logits"], with_gelu) > 1e-5


def test_every_activation_has_a_file_in_convnext():
    found = {case_of(name)["config"]["hidden_act"] for name in golden_files.NAMES if name.startswith("convnext-")}
    assert {ACTIVATIONS[name] for name in found} == set(ACTIVATIONS.values())
    assert found == {"gelu", *golden_files.ACTIVATIONS_OF_V1}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_on_a_cuda_device(dtype):
    try:
        device_module("cuda")
    except UnavailableError as error:
        pytest.skip(str(error))
    for name in golden_files.NAMES:
        golden = golden_files.load(name)
        compare(golden, dtype, TOLERANCE if dtype == "float64" else rounding_bound(golden, dtype), "cuda")


@pytest.mark.parametrize("name", ["convnext-model", "convnextv2-model", "cvt-model", "cvt-model_without_class_token"])
def test_last_hidden_state_is_the_last_of_the_hidden_states(name):
    golden = golden_files.load(name)
    output = golden.model("float64")(golden.pixel_values, output_hidden_states=True)
    np.testing.assert_array_equal(output.last_hidden_state, output.hidden_states[-1])


def test_files_are_those_in_the_manifest():
    files = {path.name for path in golden_files.FOLDER.iterdir()}
    assert files == {"manifest.json", "README.md", *(f"{name}.safetensors" for name in golden_files.NAMES)}
    for name, entry in golden_files.MANIFEST["cases"].items():
        data = (golden_files.FOLDER / f"{name}.safetensors").read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"], name


def test_manifest_names_the_versions():
    assert set(golden_files.MANIFEST["versions"]) == {"torch", "transformers", "numpy"}


def test_folder_is_smaller_than_two_megabytes():
    assert sum(path.stat().st_size for path in golden_files.FOLDER.iterdir()) < 2_000_000


def case_of(name):
    """Return the metadata of a golden file."""
    return json.loads(read_metadata(golden_files.FOLDER / f"{name}.safetensors")["case"])


@ALL
def test_the_configuration_is_complete(name):
    case = case_of(name)
    assert set(case["config"]) == {*golden_files.CONFIGS[case["family"]]().to_dict(), "num_labels"}
    assert case["config"]["model_type"] == case["family"]
    assert case["config"]["num_labels"] == len(case["config"]["id2label"])


#: Files for which the reference is more than transformers, by field. ``depth``: stages with too few blocks for the
#: rate of drop path that transformers looks up.
PATCHED = {
    "depth": {
        *("cvt-all_lists_differ", "cvt-average_even", "cvt-class_token_everywhere", "cvt-class_token_not_last"),
        *("cvt-default", "cvt-few_blocks", "cvt-model", "cvt-no_class_token", "cvt-one_pixel"),
    },
    "hidden_act": {"convnext-selu", "cvt-quick_gelu"},
    "qkv_projection_method": {"cvt-all_lists_differ", "cvt-average_even", "cvt-average_odd", "cvt-linear"},
}


@ALL
def test_patched_cases_say_so(name):
    assert case_of(name)["patched"] == [field for field, names in PATCHED.items() if name in names]


def test_the_readme_names_the_patched_cases():
    readme = (golden_files.FOLDER / "README.md").read_text(encoding="utf-8")
    named = {field: set() for field in PATCHED}
    for field, names in re.findall(r"^\| `(\w+)` \| [^|]+ \| (`[^|]+) \| [^|]+ \|$", readme, re.MULTILINE):
        named[field] |= set(re.findall(r"`([^`]+)`", names))
    assert named == PATCHED


def test_the_code_in_the_readme_reads_a_file(monkeypatch):
    readme = (golden_files.FOLDER / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(golden_files.FOLDER.parents[1])
    found = {}
    exec(code, found)
    assert found["case"] == case_of("cvt-default")
    expected = load_file(golden_files.FOLDER / "cvt-default.safetensors")
    assert set(found["tensors"]) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found["tensors"][name], tensor, strict=True)


def worst_distance(name):
    """Return the largest distance of any output of a golden file in float64."""
    golden = golden_files.load(name)
    actual = outputs_of(golden, "float64")
    return max(golden_files.distance(actual[key], expected) for key, expected in golden.expected.items())


#: A setting that ports get wrong, and the golden file that must see it.
MISTAKES = [
    ("convnextv2-tiny_variance", convnextv2, "GRN_EPS", 1e-12),
    ("cvt-tiny_variance", cvt, "LAYER_NORM_EPS", 1e-6),
    ("cvt-tiny_variance", cvt, "BATCH_NORM_EPS", 1e-6),
]


@pytest.mark.parametrize(("name", "module", "constant", "value"), MISTAKES)
def test_a_wrong_epsilon_is_seen_clearly(monkeypatch, name, module, constant, value):
    monkeypatch.setattr(import_module(f"{module.__name__}.model"), constant, value)
    assert worst_distance(name) > 1e-5  # visible in float32 as well


@pytest.mark.parametrize("family", ["convnext", "convnextv2"])
@pytest.mark.parametrize("norm_eps", [1e-5, 1e-12])
def test_a_wrong_epsilon_of_the_other_norms_is_seen_clearly(family, norm_eps):
    golden = golden_files.load(f"{family}-tiny_variance")
    logits, _ = golden.run(golden.pixel_values.astype("float64"), golden.params("float64"), norm_eps=norm_eps)
    assert golden_files.distance(logits, golden.expected["logits"]) > 1e-5


@pytest.mark.parametrize("family", ["convnext", "convnextv2"])
def test_a_wrong_final_epsilon_is_seen_clearly(family):
    golden = golden_files.load(f"{family}-final_eps")
    logits, _ = golden.run(golden.pixel_values.astype("float64"), golden.params("float64"), layer_norm_eps=1e-6)
    assert golden_files.distance(logits, golden.expected["logits"]) > 1e-3


@pytest.mark.parametrize("family", ["convnext", "convnextv2", "cvt"])
def test_another_gelu_is_seen_clearly(family):
    golden = golden_files.load(f"{family}-default")
    for hidden_act in ("gelu_new", "quick_gelu"):
        x, params = golden.pixel_values.astype("float64"), golden.params("float64")
        logits, _ = golden.run(x, params, hidden_act=hidden_act)
        assert golden_files.distance(logits, golden.expected["logits"]) > 1e-5
