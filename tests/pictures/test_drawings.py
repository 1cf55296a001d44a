"""All that charts and plots draw stands where it stood when it was looked at last."""

from __future__ import annotations

import re

import pytest

from tests.pictures.drawings import drawings, read

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?")

KNOWN = read()


@pytest.fixture(scope="module")
def found():
    return drawings()


def numbers(line):
    return [float(number.replace(",", "")) for number in _NUMBER.findall(line)]


@pytest.mark.parametrize("name", KNOWN)
def test_a_drawing(found, name):
    """Words are the same, and numbers but for the last place that is written."""
    assert [_NUMBER.sub("#", line) for line in found[name]] == [_NUMBER.sub("#", line) for line in KNOWN[name]]
    for line, known in zip(found[name], KNOWN[name], strict=True):
        assert numbers(line) == pytest.approx(numbers(known), abs=0.11, rel=1e-4), (line, known)


def test_every_drawing_is_known(found):
    assert list(found) == list(KNOWN)
