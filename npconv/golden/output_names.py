"""What a model's outputs are called in transformers, and which tensors of a trace they are.

Who saves what a model gives out has ``logits`` and ``hidden_states.0`` for names, and no names of modules. Numbers may
be written in several ways: ``hidden_states_0``, ``hidden_states[0]``, ``outputs.hidden_states/0``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from npconv.golden.trace_file import about
from npconv.plan.gradient_steps import GRAD
from npconv.plan.step import Plan

_SINGLE = "logits|last_hidden_state|pooler_output|cls_token_value"
_OUTPUT = re.compile(
    rf"(?:(?:model_)?outputs?[./_])?(?:({_SINGLE})|(hidden_state|feature_map)s?[./_\[(]*0*(\d{{1,9}})[\])]?)"
    r"([./_]grad)?",
    re.I,
)

#: What a classifier does after the vector that a model without head gives out.
_HEAD = ("linear", "activation")

#: What CvT does to its class token before that.
_SUMMARY = ("layer_norm", "token_mean")


def spelled(name: str) -> str | None:
    """Return the one way to write the name of an output, or of its gradient: ``hidden_states.0``; None for others."""
    found = _OUTPUT.fullmatch(name)
    if found is None:
        return None
    single, several, number, gradient = found.groups()
    name = str(single).lower() if single else f"{several.lower()}s.{int(number)}"
    return name + GRAD if gradient else name


def output_names(trace: Mapping[str, Any] | Iterable[str]) -> dict[str, str]:
    """Return the names of tensors by those of outputs, as `spelled`: as the trace has them, else by its steps."""
    own = {output: name for name in trace if (output := spelled(name))}
    if not isinstance(trace, Mapping):
        return own
    steps = about(trace).get("steps")
    if steps is None:
        return own
    plan = Plan.from_json(steps)
    named = _of_plan(plan, about(trace))
    gradients = {f"{output}{GRAD}": f"{name}{GRAD}" for output, name in named.items() if f"{name}{GRAD}" in plan}
    return {**named, **gradients, **own}


def _of_plan(plan: Plan, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the steps that give the outputs of a model."""
    named = {f"hidden_states.{place}": name for place, name in enumerate(plan.hidden_states)}
    if facts.get("task") == "backbone":
        return {**named, **{f"feature_maps.{place}": name for place, name in enumerate(plan.outputs)}}
    if plan.hidden_states:
        named["last_hidden_state"] = plan.hidden_states[-1]
    if not plan.outputs:
        return named
    output = plan.outputs[0]
    if (output in plan and plan[output].layout == "NK") or facts.get("task") == "image_classification":
        return {**named, **_vectors(plan, output), "logits": output}
    vectors = _vectors(plan, output)
    # What is neither pooled, nor a class token, nor the last map: tokens that are normalized once more.
    return {**named, **(vectors if vectors or output in plan.hidden_states else {"last_hidden_state": output})}


def _vectors(plan: Plan, name: str) -> dict[str, str]:
    """Return which steps, back from an output, give the one vector of a picture that models without head give out."""
    for _ in range(len(plan)):  # no further: a file may hold steps in a circle
        if name not in plan:
            return {}
        step = plan[name]
        if step.operation == "class_token":
            return {"cls_token_value": name}
        if step.layout == "NC" and step.operation not in _HEAD:
            return {"pooler_output": name}
        if step.operation not in (*_HEAD, *_SUMMARY) or not step.inputs:
            return {}
        name = step.inputs[0]
    return {}
