"""The divergent step by itself in a folder: its inputs, weights and both outputs, and a script that runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import GoldenError
from npconv.golden.compare import Comparison
from npconv.golden.segment import make_segment
from npconv.plan.step import Plan

#: Runs the steps; what it prints is measured anew, not remembered.
SCRIPT = """\
import json, pathlib
import numpy as np
from npconv.plan.run import run_plan
from npconv.plan.step import Plan
here = pathlib.Path(__file__).parent
about = json.loads((here / "repro.json").read_text(encoding="utf-8"))
load = lambda files: {name: np.load(here / file) for name, file in files.items()}
plan, inputs, weights = Plan.from_json(about["plan"]), load(about["inputs"]), load(about["weights"])
[(step, made)] = run_plan(plan, inputs, weights, only=about["only"])
for whose in ("reference", "mine"):
    found, right = np.load(here / f"{whose}.npy").squeeze().astype(float), made.squeeze()
    error = np.abs(found - right).max() if found.shape == right.shape else np.inf
    print(f"{whose}: {error:.3g} from {step.name} as NumPy makes it; tolerance {about['tolerance']:.3g}")
"""

#: Without steps there is nothing to run.
SCRIPT_WITHOUT_STEPS = """\
import pathlib
import numpy as np
here = pathlib.Path(__file__).parent
reference, mine = np.load(here / "reference.npy"), np.load(here / "mine.npy")
error = np.abs(mine.astype(float) - reference).max() if mine.shape == reference.shape else np.inf
print(f"mine: {error:.3g} from the reference")
"""


def save_repro(comparison: Comparison, directory: str | os.PathLike[str]) -> Path:
    """Write what is needed to run the first divergent step again.

    Parameters
    ----------
    comparison : Comparison
    directory : str or path
        Made if it is not there; files of an earlier call are replaced.

    Returns
    -------
    Path
        Of the script ``run.py``, which prints how far both outputs are from what NumPy makes of the inputs. These are
        mine where mine are good, as in the diagnosis; where mine lacks the tensors just before, the part of the model
        since the last good ones is run. Weights and inputs are in the precision of the reference.

    Raises
    ------
    GoldenError
        If nothing diverges, or the folder cannot be written.
    """
    first = comparison.first
    if first is None:
        raise GoldenError("nothing diverges, so there is nothing to reproduce; leave out --save-repro")
    folder = Path(directory)
    arrays = {"reference": np.asarray(comparison.reference[first.name]), "mine": comparison.array(first)}
    content: dict[str, Any] = {"name": first.name, "tolerance": first.tolerance}
    segment = make_segment(comparison, first)
    if segment is not None:
        content["plan"] = Plan(segment.steps).to_json()
        content["only"] = [segment.target.name]
        for kind, found in (("inputs", segment.start), ("weights", segment.params)):
            files = {name: f"{kind}_{number}" for number, name in enumerate(found)}
            content[kind] = {name: f"{file}.npy" for name, file in files.items()}
            arrays.update({files[name]: array for name, array in found.items()})
    script = SCRIPT_WITHOUT_STEPS if segment is None else SCRIPT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, array in arrays.items():
            np.save(folder / f"{file}.npy", array, allow_pickle=False)
        (folder / "repro.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        (folder / "run.py").write_text(script, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise GoldenError(f"{os.fspath(directory)!r}: cannot be written ({error}); check --save-repro") from error
    return folder / "run.py"
