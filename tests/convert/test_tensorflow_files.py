"""Files of transformers for TensorFlow: names, shapes and logits as the real code gave them.

``data/tensorflow_files.json`` holds, for one small classifier of each family, the path and shape of every array in the
``tf_model.h5`` of ``save_pretrained``, and the logits in float64 with the parameters and pixels of `numbers`. Two
things were set right for them: the GELU divides by the square root of two of float32 whatever the precision, and the
global response normalization computes in float32. As it is, the code is up to 2e-7 of the largest output away.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
from support.conversion_files import infer_config
from support.families import CLASSES

from npconv.convert import dialects, translate
from npconv.files.opening import open_weights

FILES = json.loads((Path(__file__).parent / "data" / "tensorflow_files.json").read_text())
FAMILIES = ("convnext", "convnextv2", "cvt")
SCOPES = {
    "convnext": "tf_conv_next_for_image_classification",
    "convnextv2": "tf_conv_next_v2_for_image_classification",
    "cvt": "tf_cvt_for_image_classification",
}
COUNTS = {"convnext": 39, "convnextv2": 42, "cvt": 203}
STEPS = {
    "num_heads": [2, 3, 2],
    "patch_stride": [4, 2, 2],
    "patch_padding": [2, 1, 1],
    "stride_kv": [2, 2, 2],
    "padding_kv": [1, 1, 1],
}


def paths(tree, above=""):
    """Yield the path and shape of each array of a file."""
    for name, below in tree.items():
        if isinstance(below, dict):
            yield from paths(below, f"{above}{name}/")
        else:
            yield above + name, tuple(below)


def numbers(shape, seed):
    """Return numbers from -1 to 1, the same everywhere: whole numbers are divided once."""
    n = np.arange(math.prod(shape))
    return ((31 * n * n + seed * n + seed) % 997 / 498 - 1).reshape(shape)


def parameter(path, shape):
    values = numbers(shape, zlib.crc32(path.encode()) % 997)
    if path.endswith(("gamma:0", "grn/weight:0", "layer_scale_parameter:0", "moving_variance:0")):
        return 1 + 0.4 * values
    return values * (2 / math.prod(shape[:-1])) ** 0.5 if path.endswith("kernel:0") else 0.3 * values


def file_of(family):
    """Return the arrays of a file by their paths in it."""
    return {path: parameter(path, shape) for path, shape in paths(FILES[family]["variables"])}


def variables_of(family):
    """Return the same by the names of the variables: without the group of the layer."""
    return {path.partition("/")[2]: array for path, array in file_of(family).items()}


def without_scope(name):
    """Return a variable's name as transformers writes it into safetensors and into shards."""
    return name.partition("/")[2] if "/" in name else name


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=True, err_msg=name)


def write_keras(path, arrays):
    h5py = pytest.importorskip("h5py", reason="needs the extra for HDF5")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file.create_group("top_level_model_weights")


@pytest.mark.parametrize("family", FAMILIES)
def test_names_of_variables(family):
    variables = variables_of(family)
    assert len(variables) == COUNTS[family]
    dialect = translate.detect(variables)
    assert (dialect.name, dialect.family, dialect.prefix) == ("tensorflow", family, f"{SCOPES[family]}/{family}/")
    assert_same(translate.from_hugging_face(translate.to_hugging_face(variables, dialect), dialect), variables)


@pytest.mark.parametrize("family", FAMILIES)
def test_names_without_scope(family):
    """Those in a model.safetensors from TensorFlow."""
    variables = {without_scope(name): array for name, array in variables_of(family).items()}
    dialect = translate.detect(variables)
    assert (dialect.name, dialect.family, dialect.prefix) == ("tensorflow", family, f"{family}/")
    ours = translate.to_hugging_face(variables, dialect)
    assert_same(translate.from_hugging_face(ours, dialect), variables)
    assert_same(translate.from_hugging_face(ours, dialects.dialect("tensorflow", ours, prefix=f"{family}/")), variables)
    full = variables_of(family)
    assert_same(ours, translate.to_hugging_face(full, translate.detect(full)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_model_of_a_process(family):
    """Keras counts the names of models."""
    scope = SCOPES[family]
    variables = {name.replace(scope, f"{scope}_1"): array for name, array in variables_of(family).items()}
    dialect = translate.detect(variables)
    assert dialect.prefix == f"{scope}_1/{family}/"
    assert_same(translate.from_hugging_face(translate.to_hugging_face(variables, dialect), dialect), variables)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits(family):
    variables = variables_of(family)
    dialect = translate.detect(variables)
    ours = translate.to_hugging_face(variables, dialect)
    config, _ = infer_config(ours, dialect=dialect, **(STEPS if family == "cvt" else {}))
    expected = np.array(FILES[family]["logits"])
    found = CLASSES[family, "image_classification"](config, ours, dtype="float64")(numbers((2, 3, 37, 41), 7)).logits
    # The bound of all float64 comparisons with a framework; measured: 1e-15.
    assert np.abs(found - expected).max() <= 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_of_keras_gives_the_names_of_variables(family, tmp_path):
    write_keras(tmp_path / "tf_model.h5", file_of(family))
    assert_same(open_weights(tmp_path).tensors, variables_of(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bare_model_built_outside_a_scope(family, tmp_path):
    """``cvt/cvt/encoder/...``: the group of the only layer, then the variable's name."""
    arrays = {
        path.replace(f"/{SCOPES[family]}/", "/"): array
        for path, array in file_of(family).items()
        if path.startswith(f"{family}/")
    }
    write_keras(tmp_path / "x", arrays)
    tensors = open_weights(tmp_path / "x").tensors
    dialect = translate.detect(tensors)
    assert dialect.prefix == f"{family}/"
    ours = translate.to_hugging_face(tensors, dialect)
    assert_same(translate.from_hugging_face(ours, dialect), tensors)
    assert all(name.startswith(f"{family}.") for name in ours)


@pytest.mark.parametrize(
    "names",
    [
        ["convnext/encoder/a:0", "classifier/kernel:0"],
        ["convnext/s/convnext/a:0", "classifier/s/kernel:0"],
        ["convnext/s/convnext/a:0", "step:0"],
        ["a/b/a/b/x", "b/b/a/b/x"],
    ],
    ids=["no groups of layers", "one without", "one outside", "two of one name"],
)
def test_other_files_keep_their_full_names(names, tmp_path):
    write_keras(tmp_path / "x", {name: np.full(3, index, np.float32) for index, name in enumerate(names)})
    tensors = open_weights(tmp_path / "x").tensors
    assert {name: tensors[name][0] for name in tensors} == {name: index for index, name in enumerate(names)}
