"""The recorder for PyTorch on the models of transformers: its names arrive, and its numbers are right."""

import ast
from pathlib import Path

import numpy as np
import pytest
from support.families import CLASSES, CONFIGS

from npconv.golden import recorders
from npconv.golden.compare import compare
from npconv.golden.origin import origin
from npconv.golden.trace_file import load_trace
from npconv.golden.truth import record
from weights_tools.goldens import draw

FIELDS = {
    "convnext": {"hidden_sizes": [8, 12, 10], "depths": [1, 2, 1], "num_stages": 3, "patch_size": 4, "num_labels": 5},
    "convnextv2": {"hidden_sizes": [8, 12, 10], "depths": [1, 2, 1], "num_stages": 3, "patch_size": 4, "num_labels": 5},
    # transformers needs more blocks in a stage than there are stages before it.
    "cvt": {"embed_dim": [6, 10, 12], "num_heads": [1, 2, 3], "depth": [1, 2, 3], "num_labels": 5},
}
FIELDS["convnext"]["layer_scale_init_value"] = 0.5


@pytest.mark.parametrize("file", sorted(Path(recorders.__file__).parent.glob("*.py")), ids=lambda file: file.stem)
def test_recorders_need_nothing_of_npconv(file) -> None:
    tree = ast.parse(file.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports for alias in node.names} | {getattr(node, "module", "") for node in imports}
    assert not any("npconv" in (name or "") for name in names)


@pytest.mark.reference
@pytest.mark.parametrize("family", FIELDS)
@pytest.mark.parametrize("task", ["model", "image_classification"])
def test_the_recorder_for_pytorch(tmp_path, family, task) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from npconv.golden.recorders.record_pytorch import record as record_pytorch

    theirs, ours, x = pair(transformers, torch, tmp_path, family, task)
    with record_pytorch(theirs, tmp_path / "mine.safetensors"), torch.no_grad():
        theirs(torch.from_numpy(x))
    with torch.no_grad():
        theirs(torch.from_numpy(x[:, :, :32]))  # the hooks are gone: this call is not recorded
    mine = load_trace(tmp_path / "mine.safetensors")
    truth = record(ours, x)
    np.testing.assert_array_equal(mine["pixel_values"], x, strict=True)
    # No module gives out a tensor that the plan lacks, but for one that CvT calls twice: no one tensor has its name.
    unnamed = {name for name in mine if family == "cvt" and name.endswith(".drop_path")}
    assert set(mine) - unnamed <= set(truth.about["aliases"]) | set(truth)
    modules = {name for name, _ in theirs.named_modules()}
    assert {name for name in truth if name in modules} <= set(mine)
    compared = compare(truth, mine)
    assert compared.first is None
    assert set(compared.extra) == unnamed
    assert not any(name in modules for name in compared.missing)


@pytest.mark.reference
@pytest.mark.parametrize("family", FIELDS)
@pytest.mark.parametrize("task", ["model", "image_classification"])
def test_the_recorder_for_pytorch_records_gradients(tmp_path, family, task) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from npconv.golden.recorders.record_pytorch import record as record_pytorch

    theirs, ours, x = pair(transformers, torch, tmp_path, family, task)
    labels = [3, 1] if task == "image_classification" else None
    theirs(torch.from_numpy(x)).to_tuple()[-1].sum().backward()  # of an earlier step
    with record_pytorch(theirs, tmp_path / "mine.safetensors", gradients=True):
        pictures = torch.from_numpy(x).requires_grad_()
        if labels:
            theirs(pictures, labels=torch.tensor(labels)).loss.backward()
        else:
            (theirs(pictures).to_tuple()[1].square().sum() / 2).backward()
    mine = load_trace(tmp_path / "mine.safetensors")
    truth = record(ours, x, gradients=True, labels=labels)
    compared = compare(truth, mine)
    assert compared.first is None
    # All gradients that PyTorch has are compared, but for what a block of CvT calls twice, and those of all modules
    # and parameters that the trace has are there.
    assert {name for name in compared.extra if not name.endswith((".drop_path", ".drop_path.grad"))} == set()
    known = {name for name, _ in [*theirs.named_modules(), *theirs.named_parameters()]} | {"pixel_values"}
    assert not any(name.removesuffix(".grad") in known for name in compared.missing)
    assert "pixel_values.grad" in mine


@pytest.mark.reference
def test_gradients_that_pytorch_has_wrong_are_found(tmp_path) -> None:
    """Of a single picture, PyTorch 2.13 mixes up the gradients of CvT's batch norms on a CPU."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from npconv.golden.recorders.record_pytorch import record as record_pytorch

    if not has_wrong_gradients(torch):
        pytest.skip("this PyTorch has it right")
    theirs, ours, x = pair(transformers, torch, tmp_path, "cvt", "image_classification")
    with record_pytorch(theirs, tmp_path / "mine.safetensors", gradients=True):
        theirs(torch.from_numpy(x[:1]), labels=torch.tensor([3])).loss.backward()
    compared = compare(record(ours, x[:1], gradients=True, labels=[3]), load_trace(tmp_path / "mine.safetensors"))
    assert compared.first.name.endswith(".convolution_projection.convolution.grad")
    found = origin(compared)
    assert found.is_born_here
    assert found.operation == "batch_norm_backward"


def has_wrong_gradients(torch) -> bool:
    """Tell whether a batch norm gives a map of one picture another gradient where that of its result is of tokens."""
    generator = torch.Generator().manual_seed(0)
    x, given = (torch.randn(1, 4, 3, 2, generator=generator) for _ in range(2))
    norm = torch.nn.BatchNorm2d(4).eval()
    found = []
    for gradient in (given, given.flatten(2).mT.contiguous().mT.view(1, 4, 3, 2)):  # the same numbers
        taken = x.clone().requires_grad_()
        norm(taken).backward(gradient)
        found.append(taken.grad)
    return not torch.allclose(*found)


def pair(transformers, torch, folder, family, task):
    """The same small model in transformers and here, and two pictures of odd size."""
    ours_class = CLASSES[family, task]
    config = CONFIGS[family](**FIELDS[family])
    kind = ours_class.__name__
    rng = draw.generator(0, kind)
    weights = draw.weights(rng, ours_class.parameter_shapes(config).items())
    ours = ours_class(config, weights)
    ours.save_pretrained(folder)
    theirs = getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32).eval()
    return theirs, ours, draw.pixel_values(rng, (2, 3, 65, 71)).astype(np.float32)
