"""Tables of published models, first values of configurations, plans and names in other libraries stay what they are.

    PYTHONPATH=.:tests python tests/models/test_tables.py     writes ``data/tables.txt`` anew; look at what changed

What is long is written as a hash, or as how many numbers there are and a sum of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.conversion_files import CONFIGS, in_dialect, state_of

from npconv.bench.architectures import ARCHITECTURES, lifelike_parameters
from npconv.convert import dialects
from npconv.errors import NpconvError
from npconv.models import FAMILIES
from npconv.models.convnext.names import CLIP_PICTURES
from npconv.models.plans import make_plan

FILE = Path(__file__).parent / "data" / "tables.txt"


def tables() -> Iterator[tuple[str, Any]]:
    """Give out everything by name, as JSON values."""
    for name, family in FAMILIES.items():
        yield f"{name}, first values", family.config_class().to_dict()
        published = family.part("published")
        yield f"{name}, licence", published.LICENCE
        for one in (*published.ARCHITECTURES, *published.CHECKPOINTS, *published.LOGITS):
            yield f"{name}, {type(one).__name__} {one.name}", asdict(one)
        yield f"{name}, benched", {word: one.name for word, one in published.BENCHED.items()}
    for name, make in ARCHITECTURES.items():
        config = make()
        plan = make_plan(config, "image_classification")
        yield f"{name}, plan", [len(plan.steps), hashed(plan.to_json())]
    yield "CLIP, pictures", CLIP_PICTURES
    for family in CONFIGS:
        yield f"{family}, lifelike", {name: told(x)[1] for name, x in lifelike_parameters(CONFIGS[family], 3).items()}
        for dialect in dialects.dialect_names():
            try:
                theirs = in_dialect(family, dialect)
            except NpconvError as error:
                yield f"{family} in {dialect}", str(error)
                continue
            yield f"{family} in {dialect}", [len(theirs), hashed({name: told(x) for name, x in theirs.items()})]
        yield f"{family}, parameters", {name: list(x.shape) for name, x in state_of(family).items()}


def told(array: np.ndarray) -> list[Any]:
    """Return the shape of an array, and a number that tells it from others."""
    values = array.astype(np.float64).ravel()
    return [list(array.shape), round(float(values @ np.cos(0.7 * np.arange(values.size))), 3)]


def hashed(value: Any) -> str:
    """Return the hash of JSON values."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def lines() -> Mapping[str, str]:
    return {name: json.dumps(value) for name, value in tables()}


KNOWN = dict(line.split(": ", 1) for line in FILE.read_text("utf-8").splitlines()) if FILE.is_file() else {}


@pytest.fixture(scope="module")
def found() -> Mapping[str, str]:
    return lines()


@pytest.mark.parametrize("name", KNOWN)
def test_a_table(found: Mapping[str, str], name: str) -> None:
    values, known = json.loads(found[name]), json.loads(KNOWN[name])
    assert values == (pytest.approx(known, abs=2e-3) if name.endswith("lifelike") else known)


def test_every_table_is_known(found: Mapping[str, str]) -> None:
    assert list(found) == list(KNOWN)


if __name__ == "__main__":
    FILE.write_text("".join(f"{name}: {said}\n" for name, said in lines().items()), "utf-8")
