"""Answers to lesson 11."""

from __future__ import annotations

import npconv
from exercises.lesson_11 import trace_a, trace_b
from npconv.golden import compare, diagnose, record
from showing import sample

_processor = npconv.AutoImageProcessor.from_pretrained("convnextv2-cifar10")
_golden = record("convnextv2-cifar10", _processor(sample("ship.png"))["pixel_values"])
_first = compare(_golden, trace_a(_golden)).first
_suspect = diagnose(compare(_golden, trace_b(_golden)))[0]

RIGHT = [_first.name, _suspect.says]
WRONG = ["convnextv2.encoder.stages.0.layers.0.dwconv", "tanh GELU"]
