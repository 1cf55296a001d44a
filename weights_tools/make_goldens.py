"""Make the golden files: inputs, weights and what transformers computes of them in float64.

    python -m weights_tools.make_goldens tests/goldens
    python -m weights_tools.make_goldens --check tests/goldens

The first command writes one safetensors file for each case of ``tests/golden_cases``, and ``manifest.json``
with seeds, hashes and versions; the second makes them again in a temporary folder and compares the bytes. Both need
the extra ``reference``.

What is in a file is said in ``README.md`` beside the files.

Why the bytes come out the same
    transformers runs in one thread, and its outputs are rounded to multiples of ``2**-36`` times the power of two above
    the array's largest number (at most 1.5e-11 of that number). The last bits of float64 still depend on the processor
    and on the version of torch: 2e-15 of the largest number were seen between torch's code for processors without
    vector instructions, with AVX2 and with AVX512. So a seed is taken only if no number of its outputs lies near the
    border between two multiples, ``2**-48`` of the same power of two: each then rounds to the same multiple everywhere.
    The seeds that were found so are kept in the manifest, and files are made again from these; after a change of the
    cases or of the way numbers are drawn, ``--new-seeds`` looks for them anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npconv.files.safetensors import load_file, save_file
from npconv.models import find_family
from weights_tools.commands import folder_parser, make_again
from weights_tools.goldens import draw
from weights_tools.goldens.cases import ModelCase, model_cases

MANIFEST = "manifest.json"

#: Bits that are kept, and the part of a step that must lie between any number and a border.
BITS = 36
MARGIN = 2.0**-12


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = folder_parser("make_goldens", __doc__)
    parser.add_argument("--new-seeds", action="store_true", help="look for seeds anew: after a change of the cases")
    parser.add_argument("--threads", type=int, default=1, help="of torch; the bytes must not depend on it")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status: 0 done, 1 files differ, 2 the reference is not there."""
    options = make_parser().parse_args(arguments)
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        print(f"make_goldens: {error}; pip install '.[reference]'", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    if options.check:
        return check(options.folder)
    make(options.folder, {} if options.new_seeds else seeds_of(options.folder))
    return 0


def make(folder: Path, seeds: Mapping[str, int]) -> None:
    """Write all files and the manifest; cases without a seed get the first that serves."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for case in model_cases():
        seed, tensors = compute(case, seeds.get(case.name))
        path = folder / f"{case.name}.safetensors"
        save_file(tensors, path, {"case": json.dumps(describe(case), sort_keys=True)})
        entries[case.name] = {"seed": seed, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    for name in set(seeds_of(folder)) - set(entries):
        (folder / f"{name}.safetensors").unlink(missing_ok=True)
    manifest = {"versions": versions(), "cases": entries}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def check(folder: Path) -> int:
    """Make all files again and compare them; return 0 if they are the same, else 1."""
    different, count = make_again(folder, lambda again: make(again, seeds_of(folder)), _difference)
    if not different:
        print(f"all {count} files are the same")
        return 0
    made = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["versions"]
    if made != versions():
        print(f"note: the files were made with {made}, and these versions are {versions()}")
    print(f"{different} of {count} files differ")
    return 1


def compute(case: ModelCase, seed: int | None) -> tuple[int, dict[str, np.ndarray]]:
    """Return a case's seed and tensors; without a seed, the first whose outputs lie clear of every border."""
    from weights_tools.goldens import reference

    model = reference.build(case.family, case.task, case.fields)
    shapes = draw.tensor_shapes(model.state_dict())
    for candidate in range(1000) if seed is None else [seed]:
        rng = draw.generator(candidate, case.name)
        pixel_values = draw.pixel_values(rng, case.shape, scale=case.input_scale, offset=case.input_offset)
        weights = draw.weights(rng, shapes, scale=case.weight_scale)
        labels = {name: np.asarray(values) for name, (_, _, values) in case.losses.items()}
        reference.load(model, weights)
        expected = reference.run(model, pixel_values)
        last = [name for name in expected if name.startswith("hidden_states.")][-1]
        if "last_hidden_state" in expected and np.array_equal(expected["last_hidden_state"], expected[last]):
            del expected["last_hidden_state"]
        for name, (_, problem_type, _) in case.losses.items():
            expected[f"loss.{name}"] = reference.loss(model, pixel_values, labels[name], problem_type)
        if seed is not None or all(is_clear(values) for values in expected.values()):
            break
    tensors = {"pixel_values": pixel_values}
    tensors |= {f"weights.{name}": values for name, values in weights.items()}
    tensors |= {f"labels.{name}": values for name, values in labels.items()}
    tensors |= {f"expected.{name}": rounded(values) for name, values in expected.items()}
    return candidate, tensors


def describe(case: ModelCase) -> dict[str, Any]:
    """Return what a reader of the file needs to build the model, no default left out."""
    from weights_tools.goldens import reference

    # npconv's own: the fields of transformers' classes change with its version, and its CvT has no ``hidden_act``.
    config = find_family(case.family).config_class(**case.fields)
    return {
        "family": case.family,
        "task": case.task,
        "config": {**config.to_dict(), "num_labels": config.num_labels},
        "patched": reference.patched(case.family, case.fields),
        "problem_types": {name: problem_type for name, (_, problem_type, _) in case.losses.items()},
    }


def rounded(values: np.ndarray) -> np.ndarray:
    """Return the nearest multiples of the step; never a negative zero."""
    step = _step(values)
    return np.round(values / step) * step + 0.0


def is_clear(values: np.ndarray) -> bool:
    """Tell whether each number stays at its multiple when its last bits change."""
    largest = np.abs(values).max()
    if _step(largest * (1 - 1e-13)) != _step(largest * (1 + 1e-13)):
        return False
    places = values / _step(values)
    return bool((np.abs(places - np.floor(places) - 0.5) > MARGIN).all())


def versions() -> dict[str, str]:
    """Return the versions that took part."""
    import torch
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": np.__version__}


def seeds_of(folder: Path) -> dict[str, int]:
    """Return the seeds of a manifest, none if there is no manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {name: entry["seed"] for name, entry in manifest["cases"].items()}


def _step(values: np.ndarray) -> float:
    """Return the step for an array: a power of two, by its largest number."""
    exponent = int(np.frexp(np.abs(values).max())[1])
    return 2.0 ** (exponent - BITS)


def _difference(committed: Path, fresh: Path) -> str:
    """Say how two files differ, if they do."""
    if committed.read_bytes() == fresh.read_bytes():
        return ""
    old, new = load_file(committed), load_file(fresh)
    if {name: array.shape for name, array in old.items()} != {name: array.shape for name, array in new.items()}:
        return "has other tensors"
    worst = max(np.abs(old[name] - new[name]).max() / (np.abs(new[name]).max() or 1) for name in new)
    return f"differs by at most {worst:.1e} of an array's largest number" if worst else "differs in the header only"


if __name__ == "__main__":
    sys.exit(main())
