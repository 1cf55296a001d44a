"""Programs of porters, in the libraries that they use: a correct one is no divergence, and mistakes are named.

The programs are those of the README of ``npconv/golden``, as it shows them. The mistakes are those of real ports: the
tanh form of GELU, which is what ``gelu`` means in Flax and tinygrad, and an epsilon that is the library's own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ports import subject
from support import readmes

from npconv.cli import main
from npconv.golden import load_trace, recorders
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose

pytestmark = pytest.mark.reference

PROGRAMS = readmes.ports(readmes.read("npconv/golden/README.md"))

#: Lines of a porter's own program, at most.
MOST_LINES = 15

TANH, LIBRARY_EPSILON = "tanh GELU", "LayerNorm eps 1e-5"


def needs(*libraries: str) -> None:
    """Skip a test that needs a library which is not installed."""
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"needs {library}: pip install '.[ports]'")


def run(folder: Path, program: str, port: str = "", *, before: str = "") -> None:
    """Run a program in a folder, with the recorders and a porter's own module beside it; `before` is called first."""
    for recorder in Path(recorders.__file__).parent.glob("record_*.py"):
        shutil.copy(recorder, folder)
    (folder / "my_port.py").write_text(port)
    (folder / "mine.py").write_text(program)
    paths = os.pathsep.join([*map(str, (readmes.ROOT, readmes.ROOT / "tests")), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "KERAS_BACKEND": "torch", "JAX_PLATFORMS": "cpu"}
    code = f"{before}\nimport runpy; runpy.run_path('mine.py', run_name='__main__')"
    command = [sys.executable, "-W", "ignore", "-c", code]  # the libraries warn of each other
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def verdict(capsys: Any, folder: Path, mine: str, *options: str) -> dict[str, Any]:
    """Return what ``npconv diff`` says of a port, and its status."""
    capsys.readouterr()
    status = main(["diff", str(folder / "golden.safetensors"), str(folder / mine), "--json", *options])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return {**found, "status": status, "fits": [one["says"] for one in found["suspects"] if one["fits"]]}


def check_right(found: dict[str, Any], missing: set[str] = frozenset()) -> None:
    """Assert that nothing diverges, and that all was compared but for the ends of some names."""
    assert (found["status"], found["first"]) == (0, None)
    lacking = [name for name in found["missing"] if not name.startswith("preprocessing.")]
    assert {name.rpartition(".")[2] for name in lacking} <= set(missing)


def test_a_program_of_a_porter_is_short():
    assert set(PROGRAMS) == {"timm", "keras", "flax", "mlx"}
    for program in PROGRAMS.values():
        assert len([line for line in program.splitlines() if line]) <= MOST_LINES


def test_timm(tmp_path, capsys):
    needs("timm", "torch")
    subject.make(tmp_path, (1, 3, 64, 96), hidden_sizes=[40, 80, 160, 320], depths=[2, 2, 6, 2], num_labels=1000)
    subject.exported(tmp_path, "timm")
    run(tmp_path, PROGRAMS["timm"], before="from support.timm_models import import_timm; import_timm()")
    check_right(verdict(capsys, tmp_path, "mine.safetensors", "--names", "timm"), {"layer_scale"})


KERAS = """
import numpy as np
from keras.src.applications.convnext import ConvNeXt
fields = {"depths": [1, 1, 2, 1], "projection_dims": [8, 12, 16, 20], "classes": 5, "weights_name": "convnext_tiny"}
model = ConvNeXt(**fields, name="convnext_tiny", weights=None, input_shape=(64, 64, 3), classifier_activation=None)
rng = np.random.default_rng(0)
for weight in model.trainable_weights:
    weight.assign(np.asarray(weight) + 0.2 * rng.standard_normal(weight.shape).astype("float32"))
model.save("model.keras")
"""


#: A stem and a downsampling are one layer each there, with the convolution and the norm inside.
IN_ONE_MODULE = {"patch_embeddings", "layernorm", "0", "1"}


def test_keras(tmp_path, capsys):
    """The model normalizes pixels itself, so that a photo is what it takes."""
    needs("keras", "torch", "h5py")
    run(tmp_path, KERAS)
    checkpoint, golden = str(tmp_path / "checkpoint"), str(tmp_path / "golden.safetensors")
    assert main(["convert", str(tmp_path / "model.keras"), checkpoint, "--image-size", "64"]) == 0
    assert main(["trace", checkpoint, str(readmes.ROOT / "npconv/zoo/samples/ship.png"), "-o", golden]) == 0
    run(tmp_path, PROGRAMS["keras"])
    check_right(verdict(capsys, tmp_path, "mine.npz", "--names", "keras"), IN_ONE_MODULE)


FLAX = """
from jax_models.models import convnext
from ports import flax_port, subject
from npconv.weights.safetensors import load_file
model = flax_port.model(subject.FIELDS)
variables = flax_port.variables(load_file("model.safetensors"))
"""


@pytest.mark.parametrize("is_right", [True, False], ids=["right", "as it is"])
def test_flax(tmp_path, capsys, is_right):
    needs("flax", "jax_models")
    from ports.flax_port import parted

    subject.make(tmp_path)
    subject.exported(tmp_path, "facebook")
    run(tmp_path, PROGRAMS["flax"], FLAX + "convnext.nn.gelu = flax_port.EXACT\n" * is_right)
    mine = {parted(name): array for name, array in load_trace(tmp_path / "mine.npz").items()}
    np.savez(tmp_path / "parted.npz", **mine)  # the package leaves the points in names out
    found = verdict(capsys, tmp_path, "parted.npz", "--names", "facebook")
    if is_right:
        check_right(found, {"act", "layer_scale", "pooled", "embeddings", "encoder", "dwconv"})
    else:
        assert (found["status"], found["fits"]) == (1, [TANH])


MLX = "from ports import mlx_port\nmodel = mlx_port.load('checkpoint', {mistake})\n"


@pytest.mark.parametrize(("mistake", "reasons"), [("", []), ("approx='tanh'", [TANH]), ("eps=1e-5", [LIBRARY_EPSILON])])
def test_mlx(tmp_path, capsys, mistake, reasons):
    needs("mlx")
    subject.make(tmp_path)
    run(tmp_path, PROGRAMS["mlx"], MLX.format(mistake=mistake))
    found = verdict(capsys, tmp_path, "mine.safetensors")
    if reasons:
        assert (found["status"], found["fits"]) == (1, reasons)
    else:
        check_right(found, {"layer_scale", "pooled"})


TINYGRAD = """
import numpy as np
from tinygrad import Tensor
from ports import subject, tinygrad_port
from npconv.golden import load_trace
from npconv.weights.safetensors import load_file
weights, x = load_file("checkpoint/model.safetensors"), load_trace("golden.safetensors")["pixel_values"]
for number, mistake in enumerate(({}, {"gelu": Tensor.gelu}, {"last_eps": 1e-5})):
    np.savez(f"{number}.npz", **tinygrad_port.run(weights, x, [1, 1], **mistake))
"""


def test_tinygrad(tmp_path, monkeypatch):
    """Without clang it computes in Python, a number at a time: the model is as small as can be."""
    needs("tinygrad")
    if shutil.which("clang") is None:
        monkeypatch.setenv("DEV", "PYTHON")
    subject.make(tmp_path, (1, 3, 16, 24), hidden_sizes=[8, 12], depths=[1, 1], num_stages=2)
    run(tmp_path, TINYGRAD)
    golden = load_trace(tmp_path / "golden.safetensors")
    found = [compare(golden, load_trace(tmp_path / f"{number}.npz")) for number in range(3)]
    reasons = [[suspect.says for suspect in diagnose(one) if suspect.fits] for one in found]
    assert reasons == [[], [TANH], [LIBRARY_EPSILON]]
    assert found[0].first is None
