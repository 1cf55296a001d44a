"""Pages of mistakes of the catalogue, to see whether each kind can be told from its pictures.

    python -m tests.pictures.mistakes FOLDER [--seed N]    writes 6 pages of the way there and 6 of the way back

The seed chooses kinds, a mistake of each, and a tiny model in which it is made wherever it can be. FOLDER/answers.json
says which page is which; the pages themselves do not, but for their source: they show no report and no explanations.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from npconv.golden.compare import Comparison, compare
from npconv.golden.mistakes import MISTAKES, Mistake
from npconv.models import FAMILIES
from npconv.pictures.diff_page import to_html
from tests.golden.specimens import PICTURE, Specimen, gradient_specimen, model_specimen, picture_specimen
from tests.golden.tiny_models import gradients_of, models_of
from tests.golden.tiny_models.pictures import PICTURES

#: What a reader should name of a mistake on the way there -> the mistakes that it stands for.
THERE = {
    "padding": "(conv|depthwise)-(edge-padding|same-padding|no-padding|shifted-down|shifted-up)",
    "weight flipped or transposed": "(conv|depthwise)-kernel-(flipped|transposed)|(linear|pointwise)-weight-transposed",
    "bias forgotten": "(conv|depthwise|pointwise|linear)-no-bias",
    "epsilon of a norm": "layer-norm-eps-1e-3|layer-norm-eps-1e-5|batch-norm-eps-1e-3",
    "norm over another axis": "layer-norm-over-(width|height|positions)",
    "another activation": "gelu-tanh|gelu-quick|activation-relu|activation-silu",
    "constant factor": "attention-no-scale|attention-scale-of-one-head|grn-sum|pool-sum|token-mean-sum|rescale-256",
    "axes in another order": "(conv|depthwise|pointwise)-output-(read-as|left)-nhwc|tokens-(by-columns|not-transposed)",
    "heads split otherwise": "(scores|context)-heads-(interleaved|reshaped)",
    "class token elsewhere": "class-token-(last|joined-last|through-convolution)",
    "residual": "residual-(missing|only|twice)",
    "fewer bits": "(conv|depthwise|pointwise|linear|scores)-(bfloat16-factors|float16|tf32-factors)",
    "softmax over another axis": "softmax-over-(queries|heads)",
    "layer scale": "layer-scale-(missing|twice|one-factor)",
    "BGR": "normalize-bgr",
    "crop elsewhere": "crop-(corner|rounded-up)",
}

#: The same of the way back.
BACK = {
    "some samples only, or their mean": ".*backward-(first-sample|averaged-over-batch)",
    "counted twice": ".*backward-accumulated",
    "kernel's gradient flipped": ".*backward-weight-flipped",
    "by the weight turned or not transposed": ".*backward-(kernel-not-turned|not-transposed)",
    "derivative of another activation": "activation-backward-(gelu-tanh|gelu-quick|relu|silu)",
    "branches not added": "gradients-(overwritten|averaged|branch-cut|residual-twice|branch-twice)",
    "norm without its mean or variance": "layer-norm-backward-(no-mean|no-variance|constant-statistics)",
    "tokens in another order": "(tokens|map-tokens|positions)-backward-(by-columns|not-transposed)",
    "class token's gradient elsewhere": "class-token-backward-(last|everywhere)",
    "constant factor": "(pool|token-mean)-backward-sum|cross-entropy-backward-summed|scores-backward-no-scale",
    "softmax's Jacobian": "softmax-backward-(diagonal|no-sum|mean)",
    "labels left out": "cross-entropy-backward-(no-labels|no-softmax)",
    "weight and bias exchanged": "(layer-norm|batch-norm|grn)-backward-exchanged",
    "heads split otherwise": "(scores|context)-backward-heads-(interleaved|reshaped)",
}

#: Pages of each way.
COUNT = 6


def compared(mistake: Mistake, family: str) -> Comparison | None:
    """Return the comparison of a port that makes a mistake, in the first tiny model that shows it where it is made."""
    for make in _specimens(family):
        specimen = make()
        place = specimen.place(mistake) if specimen.tries(mistake) else None
        comparison = None if place is None else compare(specimen.golden, specimen.port(mistake))
        if comparison is not None and comparison.first is not None and comparison.first.name == place:
            return comparison
    return None


def _specimens(family: str) -> Iterator[Callable[[], Specimen]]:
    """Yield what makes the specimens of a family, or of pictures."""
    if family == PICTURE:
        yield from (lambda tiny=tiny: picture_specimen(tiny) for tiny in PICTURES)
        return
    yield from (lambda tiny=tiny: model_specimen(tiny) for tiny in models_of(family))
    yield from (lambda tiny=tiny: gradient_specimen(tiny) for tiny in gradients_of(family))


def choose(kinds: Mapping[str, str], rng: random.Random, count: int) -> Iterator[tuple[str, Mistake, Comparison]]:
    """Yield as many kinds, each with a mistake that a tiny model shows, chosen at random."""
    for kind in rng.sample(list(kinds), len(kinds)):
        several = [one for one in MISTAKES if re.fullmatch(kinds[kind], one.name) and not one.invisible]
        for mistake in rng.sample(several, len(several)):
            families = rng.sample([*FAMILIES, PICTURE], len(FAMILIES) + 1)
            found = next((one for family in families if (one := compared(mistake, family)) is not None), None)
            if found is not None:
                yield kind, mistake, found
                count -= 1
                break
        if not count:
            return


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures.mistakes", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=COUNT, help="pages of each way")
    args = parser.parse_args(arguments)
    args.folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(args.seed)
    chosen = [*choose(THERE, rng, args.count), *choose(BACK, rng, args.count)]
    answers = {}
    for number, (kind, mistake, comparison) in enumerate(rng.sample(chosen, len(chosen)), 1):
        page = f"{number:02}.html"
        (args.folder / page).write_text(to_html(comparison, [], "", f"Page {number}"), encoding="utf-8")
        answers[page] = {"kind": kind, "mistake": mistake.name, "says": mistake.says}
    (args.folder / "answers.json").write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
