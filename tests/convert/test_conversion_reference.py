"""Checkpoints of other libraries, converted where none of them can be imported: the same logits, the same bits back.

The files are written by PyTorch, safetensors, NumPy and h5py from models that transformers and timm make, and from
those of Facebook, torchvision and Microsoft as they stand once more in ``test_dialects_originals``. One process without
PyTorch converts all of them and exports them again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import test_dialects_reference
from support.timm_models import randomize
from test_dialects_originals import make_microsoft, make_original, make_torchvision
from test_dialects_reference import STAGES, STEPS, TOLERANCE

import npconv
from npconv.convert import dialects, translate
from npconv.files import safetensors
from npconv.files.opening import open_weights

pytestmark = pytest.mark.reference

#: The fixtures of that file are those of this one.
torch = test_dialects_reference.torch
timm = test_dialects_reference.timm

ROOT = Path(__file__).parents[2]

#: Runs command lines one after the other where importing another framework is an error.
WITHOUT_FRAMEWORKS = """
import importlib.abc, json, sys

class Refuses(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "timm", "safetensors", "tensorflow", "torchvision"):
            raise ImportError(f"{name} is not to be imported here")

sys.meta_path.insert(0, Refuses())
from weights_tools.__main__ import main
print(json.dumps([main(words) for words in json.load(sys.stdin)]), file=sys.stderr)
"""


class Case(NamedTuple):
    """A model of another library and how npconv is asked to convert it."""

    dialect: str
    tensors: dict[str, Any]
    logits: np.ndarray
    pixels: np.ndarray
    options: list[str]


#: Models of timm that transformers cannot express: the arguments that make them so.
TIMM_VARIANTS = {
    "timm ols": {"stem_type": "overlap_tiered"},
    "timm hnf": {"head_norm_first": True},
    "timm mlp": {"head_hidden_size": 11},
    "timm eps": {"norm_eps": 1e-3, "kernel_sizes": 3},
}
CASES = (
    *("facebook", "facebook V2", "timm", "timm V2", "timm 1x1", "torchvision", "microsoft", "microsoft avg"),
    *("microsoft CvT", "huggingface", "huggingface V2", "huggingface CvT", "open_clip"),
    *("tensorflow", "tensorflow CvT", "fcmae"),
    *TIMM_VARIANTS,
)
#: The first has too few blocks in its last stage, which transformers cannot build; the second projections it lacks.
NOT_IN_TRANSFORMERS = ("microsoft", "microsoft avg", *TIMM_VARIANTS)
#: What is said of variants that transformers cannot express, and of "microsoft CvT", whose model computes gelu.
EXPECTED_WARNINGS = (
    "weights_tools: warning: transformers does not know ",
    "weights_tools: warning: transformers computes every CvT with gelu",
    "weights_tools: warning: microsoft computes with quick_gelu, this model with gelu",
    "weights_tools: warning: head a projection: ",  # of open_clip
)
CONTAINERS = ("safetensors", "zip", "stream", "shards", "npz", "h5")


def make_model(torch, timm, key):
    """Return a model, its dialect and the options to convert it with."""
    if key.startswith("facebook"):
        v2 = key.endswith("V2")
        return make_original(torch, grn=v2, scale=not v2)
    if key.startswith("timm"):
        v2 = key.endswith("V2")
        scale = None if v2 else 1e-6
        settings = {**STAGES, **TIMM_VARIANTS.get(key, {}), "conv_mlp": key.endswith("1x1")}
        return timm.models.convnext.ConvNeXt(num_classes=7, use_grn=v2, ls_init_value=scale, **settings)
    if key == "torchvision":
        return make_torchvision(torch)
    if key in ("microsoft", "microsoft avg"):
        method = "avg" if key.endswith("avg") else "dw_bn"
        return make_microsoft(torch, cls_token=True, method=method, qkv_bias=True)
    if key == "open_clip":
        model = torch.nn.Module()
        model.visual = torch.nn.Module()
        model.visual.trunk = timm.models.convnext.ConvNeXt(num_classes=0, **STAGES)
        model.visual.head = torch.nn.Module()
        model.visual.head.proj = torch.nn.Linear(20, 6, bias=False)
        model.forward = lambda x: model.visual.head.proj(model.visual.trunk(x))
        return model
    return make_transformers(key)


def make_transformers(key):
    """Return a small model of transformers."""
    transformers = pytest.importorskip("transformers")
    family = "Cvt" if key.endswith("CvT") else "ConvNextV2" if key.endswith("V2") or key == "fcmae" else "ConvNext"
    staged = {"hidden_sizes": [8, 12, 16], "depths": [1, 2, 1], "num_stages": 3, "num_labels": 5}
    tokens = {"embed_dim": [8, 12, 16], "depth": [1, 2, 3], "num_heads": [2, 3, 4], "num_labels": 5}
    config = getattr(transformers, f"{family}Config")(**(tokens if family == "Cvt" else staged))
    if key == "fcmae":
        return getattr(transformers, f"{family}Model")(config)
    return getattr(transformers, f"{family}ForImageClassification")(config)


def make_case(torch, timm, key):
    """Return a model with random numbers, and its logits."""
    model = randomize(torch, make_model(torch, timm, key))
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    dialect = key.split(" ")[0]
    if key == "fcmae":  # the sparse kernels themselves are compared in test_dialects_originals
        tensors["layernorm.weight"][:], tensors["layernorm.bias"][:] = 1, 0
    if dialect in ("fcmae", "tensorflow") or key == "microsoft CvT":
        ours = translate.to_hugging_face(tensors, translate.detect(tensors))
        tensors = translate.from_hugging_face(ours, dialects.dialect(dialect, ours))
    pixels = np.random.default_rng(3).standard_normal((2, 3, 61, 75))
    with torch.no_grad():
        found = model(torch.from_numpy(pixels))
    logits = getattr(found, "logits", found)
    logits = getattr(logits, "pooler_output", logits).numpy()
    given = STEPS if dialect == "microsoft" or key.endswith("CvT") else {}
    given = given | ({"qkv_projection_method": ["avg"] * 3} if key == "microsoft avg" else {})
    given = given | ({"norm_eps": 1e-3} if key == "timm eps" else {})
    given = given | ({"hidden_act": "gelu"} if key == "microsoft CvT" else {})
    options = [word for name, value in given.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    return Case(dialect, tensors, logits, pixels, options)


def write_file(torch, folder: Path, tensors, container) -> Path:
    """Write tensors as another library does; return what to convert."""
    folder.mkdir()
    values = {name: torch.from_numpy(np.array(value, order="C")) for name, value in tensors.items()}
    if container == "safetensors":
        from safetensors.torch import save_file

        save_file(values, folder / "x.safetensors")
        return folder / "x.safetensors"
    if container == "shards":
        parts = [dict(list(values.items())[start::3]) for start in range(3)]
        names = [f"pytorch_model-0000{number}-of-00003.bin" for number in (1, 2, 3)]
        for name, part in zip(names, parts, strict=True):
            torch.save(part, folder / name)
        places = {key: name for name, part in zip(names, parts, strict=True) for key in part}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
        return folder
    if container == "npz":
        np.savez(folder / "x.npz", **tensors)
        return folder / "x.npz"
    if container == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(folder / "tf_model.h5", "w") as file:
            for name, value in tensors.items():
                file[name] = value
        return folder
    path = folder / "x.pth"
    wrapped = {"model": values, "optimizer": {"state": {0: torch.zeros(3)}}, "epoch": 3}
    torch.save(wrapped, path, _use_new_zipfile_serialization=container == "zip")
    return path


@pytest.fixture(scope="module")
def cases(torch, timm):
    return {key: make_case(torch, timm, key) for key in CASES}


@pytest.fixture(scope="module")
def converted(torch, cases, tmp_path_factory):
    """Return the folder of each case and container, converted and exported by a process without PyTorch."""
    root = tmp_path_factory.mktemp("converted")
    folders, calls = {}, []
    for key, case in cases.items():
        for container in CONTAINERS:
            if container == "npz" and any("/" in name for name in case.tensors):
                continue  # NumPy would make folders of the slashes
            folder = root / f"{key} {container}"
            source = write_file(torch, folder, case.tensors, container)
            calls.append(["convert", str(source), str(folder / "out"), *case.options])
            calls.append(["export", str(folder / "out"), str(folder / "back.safetensors"), "--to", case.dialect])
            folders[key, container] = folder
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FRAMEWORKS],
        input=json.dumps(calls),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *complaints, statuses = done.stderr.splitlines()
    assert [line for line in complaints if not line.startswith(EXPECTED_WARNINGS)] == []
    assert json.loads(statuses) == [0] * len(calls)
    return folders


def folders_of(converted, key):
    return {container: folder for (of, container), folder in converted.items() if of == key}


@pytest.mark.parametrize("key", CASES)
def test_logits(cases, converted, key):
    case = cases[key]
    bound = TOLERANCE * np.abs(case.logits).max()
    worst = 0.0
    for folder in folders_of(converted, key).values():
        if key == "fcmae":
            model = npconv.AutoModel.from_pretrained(folder / "out", dtype="float64")
            model.config.layer_norm_eps = 1e-12  # of the transformers model that stands in for it
            found = model(case.pixels).pooler_output
        else:
            model = npconv.AutoModelForImageClassification.from_pretrained(folder / "out", dtype="float64")
            found = model(case.pixels).logits
        worst = max(worst, np.abs(found - case.logits).max())
    print(f"\n{key}: {worst / np.abs(case.logits).max():.1e}")
    assert worst <= bound


@pytest.mark.parametrize("key", CASES)
def test_export_gives_the_bits_back(cases, converted, key):
    expected = cases[key].tensors
    for folder in folders_of(converted, key).values():
        found = safetensors.load_file(folder / "back.safetensors")
        assert sorted(found) == sorted(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, strict=True)


@pytest.mark.parametrize("key", [key for key in CASES if key not in NOT_IN_TRANSFORMERS])
def test_transformers_loads_every_folder(torch, cases, converted, key):
    transformers = pytest.importorskip("transformers")
    case = cases[key]
    for folder in folders_of(converted, key).values():
        auto = transformers.AutoModel if key == "fcmae" else transformers.AutoModelForImageClassification
        model, report = auto.from_pretrained(folder / "out", output_loading_info=True)
        assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        assert model.dtype == torch.float64
        assert transformers.AutoImageProcessor.from_pretrained(folder / "out").crop_pct in (0.875, 1.0)
        if key == "fcmae":
            continue
        with torch.no_grad():
            found = model.eval()(torch.from_numpy(case.pixels)).logits.numpy()
        assert np.abs(found - case.logits).max() <= TOLERANCE * np.abs(case.logits).max()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dtypes_as_pytorch_rounds_them(torch, cases, tmp_path, dtype):
    from npconv.convert import convert

    case = cases["facebook"]
    source = write_file(torch, tmp_path / "x", case.tensors, "zip")
    convert(source, tmp_path / "out", dtype=dtype)
    model = pytest.importorskip("transformers").AutoModelForImageClassification.from_pretrained(tmp_path / "out")
    assert model.dtype == getattr(torch, dtype)
    theirs = translate.to_hugging_face(case.tensors, translate.detect(case.tensors))
    for name, value in model.state_dict().items():
        assert torch.equal(value, torch.from_numpy(np.array(theirs[name], order="C")).to(getattr(torch, dtype)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("key", ["timm 1x1", "torchvision", "huggingface CvT"])
def test_half_precision_there_and_back(torch, cases, tmp_path, key, dtype):
    from npconv.convert import convert, export

    case = cases[key]
    values = {name: torch.from_numpy(value) for name, value in case.tensors.items()}
    values = {
        name: value.to(getattr(torch, dtype)) if value.dtype == torch.float64 else value
        for name, value in values.items()
    }
    torch.save(values, tmp_path / "x.pth")
    given = STEPS if key == "huggingface CvT" else {}
    done = convert(tmp_path / "x.pth", tmp_path / "out", **given)
    assert done.dtype == dtype
    export(tmp_path / "out", tmp_path / "back")
    loaded = pytest.importorskip("safetensors.torch").load_file(tmp_path / "back")
    assert sorted(loaded) == sorted(values)
    for name, value in values.items():
        assert loaded[name].dtype == value.dtype
        assert torch.equal(loaded[name], value)


def test_a_folder_of_transformers_keeps_all_that_it_says(torch, tmp_path):
    """The published form: config.json with the names of classes, preprocessor_config.json, pytorch_model.bin."""
    transformers = pytest.importorskip("transformers")
    from npconv.convert import convert

    names = {0: "cat", 1: "dog", 2: "llama"}
    config = transformers.CvtConfig(
        embed_dim=[8, 12, 16], depth=[1, 2, 3], num_heads=[2, 3, 4], drop_path_rate=[0.0, 0.1, 0.2], id2label=names
    )
    model = transformers.CvtForImageClassification(config).eval()
    source = tmp_path / "models--org--name" / "snapshots" / "1"
    config.save_pretrained(source)
    transformers.ConvNextImageProcessorPil(size={"shortest_edge": 48}, crop_pct=0.9).save_pretrained(source)
    torch.save(model.state_dict(), source / "pytorch_model.bin")
    done = convert(source, tmp_path / "out")
    assert done.name == "org/name"
    assert done.config.id2label == names
    again = transformers.AutoConfig.from_pretrained(tmp_path / "out")
    for name, value in config.to_dict().items():
        if name not in ("dtype", "architectures", "transformers_version", "label2id", "_name_or_path"):
            assert again.to_dict()[name] == value, name
    processor = npconv.AutoImageProcessor.from_pretrained(tmp_path / "out")
    assert (processor.size, processor.crop_pct) == ({"shortest_edge": 48}, 0.9)
    assert open_weights(tmp_path / "out").tensors.keys() == model.state_dict().keys()
