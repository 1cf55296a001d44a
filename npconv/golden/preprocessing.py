"""What is done to a picture before a model sees it, as a plan, and recorded.

The plan begins with ``preprocessing.image``, the decoded picture as (C, H, W). A trace holds it the way image libraries
give it out, as ``preprocessing.decoded``, (H, W, C); :func:`image_of` turns one into the other. What follows depends on
the settings of the model's image processor:

- ``preprocessing.resized``, uint8 (C, H, W)
- ``preprocessing.cropped``, of models below 384 pixels
- ``preprocessing.center_cropped``, where ``do_center_crop`` asks for a second crop; no published model does
- ``preprocessing.rescaled``, float32 from 0 to 1
- ``preprocessing.normalized``, float32: the model's input but for the axis of the batch
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from npconv.errors import GoldenError
from npconv.golden.trace_file import PIXELS, Trace
from npconv.images import ConvNextImageProcessor
from npconv.images.inputs import picture_to_array
from npconv.plan.run import run_plan
from npconv.plan.step import Plan, Step

DECODED = "preprocessing.decoded"
IMAGE = "preprocessing.image"


def make_preprocessing_plan(processor: ConvNextImageProcessor, height: int, width: int) -> Plan:
    """Return the steps of an image processor for decoded pictures of one size, on which that to resize to depends."""
    steps: list[Step] = []
    for name, operation, attributes in processor.steps(height, width):
        before = steps[-1].name if steps else IMAGE
        steps.append(Step(f"preprocessing.{name}", operation, (before,), {}, attributes, "CHW"))
    return Plan(tuple(steps), (steps[-1].name,) if steps else ())


def record_preprocessing(
    processor: ConvNextImageProcessor, picture: Any
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return what becomes of a picture, as the processor takes it, step by step, and what did it.

    Returns
    -------
    dict of str to ndarray
        ``preprocessing.decoded`` (H, W, C), the results of the plan, and ``pixel_values`` (1, C, H, W).
    dict
        As JSON values: ``settings`` of the processor, ``decoded``, the height and width of the picture, and ``steps``,
        the plan.

    Raises
    ------
    ImageError, InputError
        If the picture cannot be read or prepared.
    GoldenError
        If the steps do not give what the processor gives, bit for bit.
    """
    image, _ = picture_to_array(picture, processor.settings())
    height, width = image.shape[1:]
    plan = make_preprocessing_plan(processor, height, width)
    arrays = {DECODED: np.moveaxis(image, 0, -1)}
    for step, result in run_plan(plan, {IMAGE: image}, {}):
        arrays[step.name] = result
    expected = processor(picture)["pixel_values"]
    pixel_values = (arrays[plan.outputs[0]] if plan.outputs else image)[None]
    if pixel_values.dtype != expected.dtype or not np.array_equal(pixel_values, expected):
        raise GoldenError("the recorded steps of preprocessing do not give what the image processor gives")
    arrays[PIXELS] = expected
    about = {"settings": processor.to_dict(), "decoded": [height, width], "steps": plan.to_json()}
    return arrays, about


def with_preprocessing(recorded: Trace, before: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Trace:
    """Return the trace of a model with what :func:`record_preprocessing` made before it in front, or some of that."""
    joined = Trace({**recorded.about, **about}, recorded.params)
    joined.about["layouts"] = {**recorded.about["layouts"], **layouts(before)}
    for name, array in {**before, **recorded}.items():
        joined.add(name, array)
    return joined


def layouts(names: Iterable[str]) -> dict[str, str]:
    """Return the letters of the axes of what is recorded here."""
    return {name: "HWC" if name == DECODED else "CHW" for name in names if name != PIXELS}


def image_of(decoded: np.ndarray) -> np.ndarray:
    """Return what a plan of preprocessing begins with, ``preprocessing.image``, of ``preprocessing.decoded``."""
    return np.moveaxis(decoded, -1, 0)
