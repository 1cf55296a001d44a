"""The models as plans: every operation by name, in order, with what it takes. See ``npconv/plan/step.py``.

``convnext`` holds ConvNeXt and ConvNeXt V2, ``cvt`` CvT; both are to be read beside ``npconv/models``, part by part.
"""

from __future__ import annotations

from typing import Any

from npconv.errors import GoldenError
from npconv.models import ConvNextConfig, ConvNextV2Config, CvtConfig, PretrainedConfig
from npconv.models.convnext import plan as convnext
from npconv.models.cvt import plan as cvt
from npconv.plan.step import Plan

__all__ = ["TASKS", "make_plan"]

#: What there are models for; CvT has no backbone.
TASKS = ("model", "image_classification", "backbone")


def make_plan(config: PretrainedConfig, task: str) -> Plan:
    """Return the steps of a model.

    Parameters
    ----------
    config : ConvNextConfig, ConvNextV2Config or CvtConfig
    task : str
        ``"model"``, ``"image_classification"`` or ``"backbone"``.

    Returns
    -------
    Plan
        Its outputs are the pooled features (of CvT: the class token, or without one the last map), the logits, or the
        feature maps.

    Raises
    ------
    GoldenError
        If there is no such model, or its activation has no name.
    """
    make = _plans(config).get(task) if isinstance(task, str) else None
    if make is None:
        raise GoldenError(
            f"expected a task of {config.model_type}: {', '.join(_plans(config))}; got {str(task)[:80]!r}"
        )
    hidden_act: Any = config.hidden_act
    if not isinstance(hidden_act, str):
        raise GoldenError("expected hidden_act to be the name of an activation, got a function, which no file can hold")
    return make(config)


def _plans(config: PretrainedConfig) -> dict[str, Any]:
    """Return what makes the plan of each task of a family."""
    if isinstance(config, ConvNextConfig | ConvNextV2Config):
        return {task: getattr(convnext, task) for task in TASKS}
    if isinstance(config, CvtConfig):
        return {"model": cvt.model, "image_classification": cvt.image_classification}
    raise GoldenError(f"expected the configuration of ConvNeXt, ConvNeXt V2 or CvT, got {type(config).__name__}")
