"""The recorder for PyTorch on the models of transformers: its names arrive, and its numbers are right."""

import ast
from pathlib import Path

import numpy as np
import pytest
from support.families import CLASSES, CONFIGS

from npconv.golden import recorders
from npconv.golden.compare import compare
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
