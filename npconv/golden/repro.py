"""The divergent step by itself in a folder: its inputs, weights and both outputs, and a script that runs it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import GoldenError, InputError, WeightsError
from npconv.files.disk import read_json
from npconv.files.locks import publish, staged, why_not_written
from npconv.golden.compare import Comparison
from npconv.golden.segment import make_segment
from npconv.messages import listed, quoted
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


ABOUT, RUN = "repro.json", "run.py"
OUTPUTS = ("reference", "mine")


def save_repro(comparison: Comparison, directory: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write what is needed to run the first divergent step again.

    Parameters
    ----------
    comparison : Comparison
    directory : str or path
        Made if it is not there; files of an earlier call are replaced.
    force : bool
        Whether other files of the same names may be replaced as well.

    Returns
    -------
    Path
        Of the script ``run.py``, which prints how far both outputs are from what NumPy makes of the inputs. These are
        mine where mine are good, as in the diagnosis; where mine lacks the tensors just before, the part of the model
        since the last good ones is run. Weights and inputs are in the precision of the reference.

    Raises
    ------
    GoldenError
        If nothing diverges, the folder cannot be written, or it holds a file that would be replaced and is not of an
        earlier call.
    """
    first = comparison.first
    if first is None:
        raise GoldenError("nothing diverges, so there is nothing to reproduce; leave out --save-repro")
    folder = Path(directory)
    arrays = dict(zip(OUTPUTS, (np.asarray(comparison.reference[first.name]), comparison.array(first)), strict=True))
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
    check_repro(folder, [*(f"{file}.npy" for file in arrays), ABOUT, RUN], force=force)
    try:
        with staged(folder) as staging:
            for file, array in arrays.items():
                np.save(staging / f"{file}.npy", array, allow_pickle=False)
            (staging / ABOUT).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            (staging / RUN).write_text(script, encoding="utf-8")
            publish(staging, folder, ABOUT)
    except (OSError, InputError, WeightsError) as error:
        reason = why_not_written(error) if isinstance(error, OSError) else error
        raise GoldenError(f"{quoted(folder)}: cannot be written ({reason}); check --save-repro") from error
    return folder / RUN


def check_repro(folder: Path, names: Iterable[str] = (ABOUT, RUN), *, force: bool = False) -> None:
    """Refuse to replace files of a folder that `save_repro` did not write, or that someone has changed."""
    taken = [name for name in names if os.path.lexists(folder / name)]
    own = _own(folder) if taken and not force else set(taken)
    foreign = [quoted(name) for name in taken if name not in own]
    if foreign:
        raise GoldenError(
            f"{quoted(folder)} holds {listed(foreign)}, which --save-repro did not write, or someone has changed; give "
            "another folder, or --force replaces them"
        )


def _own(folder: Path) -> set[str]:
    """Return the files of a folder that an earlier call wrote."""
    try:
        about = read_json(folder / ABOUT)
        script = (folder / RUN).read_text(encoding="utf-8") if (folder / RUN).is_file() else ""
    except (OSError, ValueError, WeightsError):
        return set()
    if not isinstance(about, dict) or not {"name", "tolerance"} <= about.keys():
        return set()
    listings = [about.get(kind) for kind in ("inputs", "weights")]
    files = {file for listing in listings if isinstance(listing, dict) for file in listing.values()}
    own = {ABOUT, *(f"{file}.npy" for file in OUTPUTS), *map(str, files)}
    return own | {RUN} if script in (SCRIPT, SCRIPT_WITHOUT_STEPS) else own
