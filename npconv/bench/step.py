"""Where the time of a step of training goes, operation by operation."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from npconv.api import AutoModelForImageClassification
from npconv.api.loss import image_classification_loss_backward
from npconv.bench.runners import labels_of
from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.plan.backward import Walk

Seconds = dict[str, float]


def seconds_by_operation(folder: str, pixel_values: np.ndarray) -> dict[str, Seconds]:
    """Return the seconds of each operation, forward and backward, in the second of two steps of a classifier."""
    model = AutoModelForImageClassification.from_pretrained(folder)
    _walk(model, pixel_values)
    return _walk(model, pixel_values)


def _walk(model: Any, pixel_values: np.ndarray) -> dict[str, Seconds]:
    """Walk through the model's plan and back, and look at the clock at each step."""
    plan = make_plan(model.config, model.task, training=True)
    trained = {name for name, _ in model.named_parameters()}
    walk = Walk(plan, flatten(model.params), plan.outputs, trained, np.random.default_rng(0))
    forward, backward = defaultdict[str, float](float), defaultdict[str, float](float)
    logits = None
    for name, array, seconds in _timed(walk.forward({"pixel_values": pixel_values})):
        forward[plan[name].operation] += seconds
        if name in plan.outputs:
            logits = array
    upstream = image_classification_loss_backward(logits, labels_of(pixel_values), model.config)
    operation = ""  # a step's backward function runs after its upstream gradient has come
    for name, _, seconds in _timed(walk.backward({plan.outputs[0]: upstream})):
        backward[operation] += seconds
        operation = plan[name].operation if name in plan else operation
    backward.pop("")
    return {"forward": dict(forward), "backward": dict(backward)}


def _timed(arrays: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any, float]]:
    """Yield each named array, and the seconds that it took to come."""
    start = time.perf_counter()
    for name, array in arrays:
        now = time.perf_counter()
        yield name, array, now - start
        start = time.perf_counter()
