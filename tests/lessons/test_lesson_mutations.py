"""A layer, or its gradient, that is something else makes at least one lesson fail: none is only talked about."""

from __future__ import annotations

import json

import pytest
from support.lesson_process import backward_functions
from test_lessons import LESSONS, run_process

from npconv import layers

FUNCTIONS = [name for name in layers.__all__ if callable(getattr(layers, name))]

#: What goes back from the loss that a golden trace takes for a model that has none; no lesson records such a trace.
IN_NO_LESSON = ("half_square_backward",)
BACKWARD = [name for name in backward_functions() if name not in IN_NO_LESSON]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """How often each lesson calls each function."""
    folder = tmp_path_factory.mktemp("count")
    counts = {}
    for path in LESSONS:
        done = run_process(path, "--count", folder=folder)
        assert done.returncode == 0, done.stderr[-2000:]
        counts[path] = json.loads(done.stdout.splitlines()[-1])
    return counts


@pytest.mark.parametrize("name", [*FUNCTIONS, *BACKWARD])
def test_a_broken_layer_or_gradient_makes_a_lesson_fail(name, calls, tmp_path):
    users = sorted((path for path in LESSONS if calls[path].get(name)), key=lambda path: calls[path][name])
    assert users, f"no lesson calls {name}"
    said = (run_process(path, "--break", name, folder=tmp_path).stderr for path in users)
    assert any("AssertionError" in text for text in said)
