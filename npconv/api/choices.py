"""What the caller of a pipeline leaves open: where it runs, and who makes its pictures ready."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from npconv.api.auto import AutoImageProcessor
from npconv.api.base import PreTrainedModel
from npconv.backend import device_module, parse_device
from npconv.errors import InputError, NpconvWarning, UnavailableError
from npconv.images import ConvNextImageProcessor
from npconv.messages import shown

#: Arguments of pipelines in transformers that change nothing here.
WITHOUT_EFFECT = (
    *("args_parser", "binary_output", "framework", "modelcard", "num_workers", "processor", "task", "tokenizer"),
    *("use_fast", "video_processor"),
)


def choose_device(device: Any) -> str:
    """Return where a pipeline runs: ``"cpu"`` or ``"cuda"``.

    Parameters
    ----------
    device : int, str or torch.device
        -1 is the CPU. A number from 0 on is the GPU where there is one, else the CPU, with a warning: scripts that say
        so run on machines of both kinds.

    Raises
    ------
    InputError
        If it is no device.
    """
    if isinstance(device, int) and not isinstance(device, bool) and device >= 0:
        try:
            device_module("cuda")
        except UnavailableError as error:
            warnings.warn(f"device={device}: {error}; the pipeline goes on with the CPU", NpconvWarning, stacklevel=3)
            return "cpu"
    return parse_device(device)


def check_kinds(workers: Any, model_kwargs: Any, pipeline_class: Any) -> None:
    """Raise an `InputError` for the first of some arguments of :func:`pipeline` that is of another kind."""
    if not isinstance(workers, int | np.integer):
        from concurrent.futures import Executor  # only here: a number is told without it

        if not isinstance(workers, Executor):
            raise InputError(f"expected workers to be a number of processes or an Executor, got {shown(workers)}")
    if model_kwargs is not None and not isinstance(model_kwargs, Mapping):
        raise InputError(f"expected model_kwargs to be a dict, got {shown(model_kwargs)}")
    if pipeline_class is not None and not hasattr(pipeline_class, "load_model"):
        raise InputError(f"expected pipeline_class to be a class made from a pipeline's, got {shown(pipeline_class)}")


def processor_of(model: PreTrainedModel) -> ConvNextImageProcessor:
    """Return the image processor that lies where a model was loaded from.

    Raises
    ------
    NpconvError
        If the model was not loaded, or there is none.
    """
    if model.loaded_from is None:
        raise InputError(
            "expected an image_processor beside a model that was made and not loaded; "
            "AutoImageProcessor.from_pretrained reads one"
        )
    return AutoImageProcessor.from_pretrained(model.loaded_from)
