"""The models as plans: every operation by name, in order, with what it takes. See ``npconv/plan/step.py``."""

from __future__ import annotations

from npconv.errors import ConfigError, GoldenError
from npconv.messages import quoted
from npconv.models import TASKS, PretrainedConfig, family_of
from npconv.plan.step import Plan

__all__ = ["TASKS", "make_plan"]


def make_plan(config: PretrainedConfig, task: str, training: bool = False) -> Plan:
    """Return the steps of a model, which a file can hold.

    Its outputs are the pooled features (of CvT: the class token, or without one the last map), the logits, or the
    feature maps. In `training` there are steps for dropout and drop path, and batch norms take the statistics of the
    batch; the new stored statistics are results under the names of the old ones.

    Raises
    ------
    GoldenError
        If there is no such model, or its activation has no name.
    """
    try:
        family = family_of(config)
    except ConfigError as error:
        raise GoldenError(str(error)) from None
    if task not in family.tasks:
        tasks = ", ".join(family.tasks)
        raise GoldenError(f"expected a task of {config.model_type}: {tasks}; got {quoted(task)}")
    if not isinstance(config.hidden_act, str):
        raise GoldenError("expected hidden_act to be the name of an activation, got a function, which no file can hold")
    plan: Plan = getattr(family.part("plan"), task)(config, training=training)
    return plan
