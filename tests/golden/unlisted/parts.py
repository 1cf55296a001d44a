"""Mistakes of the catalogue in some blocks of a stage, where outputs of stages are all that is recorded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.measures import distance
from npconv.golden.mistakes import MISTAKES, apply
from npconv.golden.trace_file import Trace
from npconv.plan.run import run_plan
from tests.golden.specimens import Specimen, model_specimen
from tests.golden.tiny_models import TinyModel
from tests.golden.tiny_models.cvt import FIELDS as CVT
from tests.golden.unlisted.entry import outputs_of
from tests.golden.unlisted.port import cast

#: Two are the same if they differ by no more than this share of the largest value, in float64.
SAME = 1e-12

#: The stage that the mistakes are made in, and its blocks; a downsampling comes before them.
STAGE, BLOCKS = "stages.1.", 9

FIELDS = {"num_stages": 2, "hidden_sizes": [4, 6], "depths": [1, BLOCKS], "patch_size": 3, "num_labels": 7}
DEEP = {
    **{family: (FIELDS, (2, 3, 31, 37)) for family in ("convnext", "convnextv2", "dinov3_convnext")},
    "cvt": ({**CVT, "embed_dim": [4, 6], "num_heads": [2, 3], "depth": [1, 4]}, (2, 3, 29, 34)),
}


@dataclass(frozen=True)
class Part:
    """A mistake of the catalogue in some blocks.

    Parameters
    ----------
    mistake : str
    family : str
    blocks : tuple of int
    end : str
        How the names of its steps end, where it is not made in all to which it applies.
    """

    mistake: str
    family: str
    blocks: tuple[int, ...]
    end: str = ""

    def steps(self) -> set[str]:
        """Return the names of the steps where it is made."""
        plan, _ = deep(self.family).parts[0]
        mistake = next(one for one in MISTAKES if one.name == self.mistake)
        inside = [f"{STAGE}layers.{block}" for block in self.blocks]
        return {
            step.name
            for step in plan
            if any(f"{block}." in step.name or step.name.endswith(block) for block in inside)
            and step.name.endswith(self.end)
            and mistake.at(step, plan) is not None
        }

    def port(self) -> Trace:
        """Return the outputs of a port in float32 that makes it."""
        specimen = deep(self.family)
        trace = Trace(specimen.about)
        trace.add(specimen.parts[0][1], specimen.start)
        for name, array in self._outputs(self.steps(), specimen.start).items():
            trace.add(name, array)
        return trace

    def is_same(self, steps: set[str]) -> bool:
        """Tell whether the mistake in these steps is the same function, by running it in float64 on random inputs."""
        start = np.random.default_rng(7).normal(size=deep(self.family).start.shape)
        one, other = self._outputs(self.steps(), start), self._outputs(steps, start)
        return all(distance(array, other[name]) <= SAME * np.abs(array).max() for name, array in one.items())

    def _outputs(self, steps: set[str], start: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of a port that makes it in some steps, in the precision of what it starts from."""
        specimen = deep(self.family)
        plan, source = specimen.parts[0]
        wrong, function_of = apply(next(one for one in MISTAKES if one.name == self.mistake), plan, steps)
        params = {name: cast(array, start.dtype.type) for name, array in specimen.golden.params.items()}
        with np.errstate(all="ignore"):
            made = run_plan(wrong, {source: start}, params, function_of, only=outputs_of(plan))
            return {step.name: array for step, array in made}


PARTS = (
    Part("gelu-tanh", "convnext", (1, 3)),
    Part("depthwise-kernel-flipped", "convnext", (1, 2, 3, 4, 5, 6, 7, 8)),
    Part("layer-scale-missing", "convnext", (0, 2, 4, 6, 8)),
    Part("depthwise-edge-padding", "convnext", (5, 6, 7, 8)),
    Part("pointwise-no-bias", "convnext", (2, 6, 7), ".pwconv1"),
    Part("residual-twice", "convnext", (4,)),
    Part("layer-norm-ddof", "convnext", (0, 1, 2, 3, 4, 5, 6, 7, 8)),
    Part("grn-no-residual", "convnextv2", (0, 2, 5)),
    Part("grn-not-rooted", "convnextv2", (0,)),
    Part("activation-silu", "convnextv2", (0, 1, 2, 3)),
    Part("depthwise-shifted-up", "convnextv2", (3, 7)),
    Part("layer-norm-no-bias", "dinov3_convnext", (1, 3, 5, 7)),
    Part("gelu-quick", "dinov3_convnext", (0, 1, 2, 4, 6, 8)),
    Part("attention-scale-of-one-head", "cvt", (1, 2)),
    Part("softmax-base-2", "cvt", (0, 1, 3)),
    Part("batch-norm-mean-unscaled", "cvt", (0, 2), ".convolution_projection_key.convolution_projection.normalization"),
)


@cache
def deep(family: str) -> Specimen:
    """Return a tiny model with a stage of many blocks, and its golden trace."""
    fields, shape = DEEP[family]
    return model_specimen(TinyModel(family, "many blocks", fields, shape))


@dataclass(frozen=True)
class Told:
    """What is said of a mistake in some blocks: whether the mistake is the one, and where."""

    part: Part
    is_named: bool
    places: set[str]
    says: str
    seconds: float

    @property
    def outcome(self) -> str:
        """``right``, ``none`` or ``wrong``."""
        if not self.says:
            return "none"
        steps = self.part.steps()
        return "right" if self.is_named and (self.places == steps or self.part.is_same(self.places)) else "wrong"


def tell(part: Part) -> Told:
    """Compare the outputs of a port with the golden trace, and ask for the reason."""
    begin = time.perf_counter()
    comparison = compare(deep(part.family).golden, part.port())
    fits = [suspect for suspect in diagnose(comparison) if suspect.fits]
    seconds = time.perf_counter() - begin
    if not fits:
        return Told(part, False, set(), "", seconds)
    named = [suspect for suspect in fits if suspect.mistake is not None and suspect.mistake.name == part.mistake]
    best = named[0] if named else fits[0]
    return Told(part, bool(named), set(best.places), best.says, seconds)


def lines(told: Sequence[Told]) -> list[str]:
    """Return a line for each, and how many are right."""
    rows = [("mistake", "family", "blocks", "reason", "seconds", "what was said")]
    for one in told:
        part = one.part
        blocks = " ".join(map(str, part.blocks))
        rows.append((part.mistake, part.family, blocks, one.outcome, f"{one.seconds:.1f}", one.says))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = sum(one.outcome == "right" for one in told)
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*table, "", f"{right} of {len(told)} right"]
