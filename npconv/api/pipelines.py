"""From pictures to labels or features in one call."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

from npconv.api.auto import AutoConfig, AutoImageProcessor
from npconv.api.extraction import ImageFeatureExtractionPipeline
from npconv.api.folded import shared_loader
from npconv.api.heads import BareModel
from npconv.api.pictures import ImageClassificationPipeline, Pipeline
from npconv.backend import parse_device, parse_dtype
from npconv.errors import InputError
from npconv.files.loading_arguments import Origin, sort_out
from npconv.images import ConvNextImageProcessor
from npconv.workers.loader import Loader

DEFAULT_MODEL = "convnextv2-cifar10"

#: Task -> the class of its pipeline.
PIPELINES: dict[str, type[Pipeline]] = {
    "image-classification": ImageClassificationPipeline,
    "image-feature-extraction": ImageFeatureExtractionPipeline,
}


def pipeline(
    task: str = "image-classification",
    model: str | Path | BareModel | None = None,
    *,
    image_processor: str | Path | ConvNextImageProcessor | None = None,
    batch_size: int = 1,
    workers: int | Executor = 1,
    feature_extractor: str | Path | ConvNextImageProcessor | None = None,
    **arguments: Any,
) -> Any:
    """Make a function from pictures to labelled scores, or to features.

    Parameters
    ----------
    task : str
        ``"image-classification"`` or ``"image-feature-extraction"``.
    model : str, Path or model, optional
        As in ``AutoModelForImageClassification.from_pretrained``, or a model that is loaded already: a classifier, or
        for features a model without one. The embedded model when unset.
    image_processor : str, Path or processor, optional
        The model's own when unset; needed where `model` is loaded already.
    batch_size : int
        Pictures that pass the model together.
    workers : int or Executor
        Processes that share the work when there are more pictures than fit in a batch, and with the fast engine the
        weights in memory; 1 (or 0) means none but this one. A script that uses them keeps its work under
        ``if __name__ == "__main__":``. Any ``concurrent.futures.Executor`` may take their place, such as one of
        ``distributed`` for several machines; `model` must then be found there under the same name. A model that is
        loaded already cannot be shared.
    feature_extractor
        The older name of `image_processor`.
    **arguments
        What a call does that does not say: ``top_k``, ``function_to_apply``; or ``pool``, ``return_tensors``,
        ``image_processor_kwargs``, ``features``; and ``max_memory``. And ``dtype``, ``device``, ``engine``,
        ``revision`` and so on, as in ``from_pretrained``, also in a dict ``model_kwargs``: the engine is the fast one
        when unset, where it can run: in float32 on the CPU.

    Returns
    -------
    ImageClassificationPipeline or ImageFeatureExtractionPipeline

    Raises
    ------
    NpconvError
        If the task is another one or the model cannot be loaded.
    """
    if task not in PIPELINES:
        raise InputError(f"expected task {' or '.join(map(repr, PIPELINES))}, got {task!r}")
    kind = PIPELINES[task]
    options = {name: arguments.pop(name) for name in kind.options if name in arguments}
    of_model = arguments.pop("model_kwargs", None) or {}
    origin, arguments = sort_out({**arguments, **of_model})
    origin_of_other = origin._replace(revision="main", subfolder="", variant=None)
    image_processor = feature_extractor if image_processor is None else image_processor
    shared = isinstance(workers, Executor) or workers > 1
    if isinstance(model, kind.model_class):
        if image_processor is None:
            raise InputError("expected an image_processor beside a loaded model; AutoImageProcessor reads it")
        if shared:
            raise InputError("expected the name or folder of a model beside workers, got a loaded one; they load it")
        if arguments:
            raise InputError(f"expected no {', '.join(arguments)} beside a loaded model; give them when loading it")
        kind.check_config(model.config)
        return kind(model, _processor(image_processor, origin_of_other), batch_size=batch_size, **options)
    name: Any = DEFAULT_MODEL if model is None else model
    if image_processor is None:
        processor = _processor(name, origin)
        origin = origin._replace(force_download=False)  # it has been downloaded again by now
    else:
        processor = _processor(image_processor, origin_of_other)
    arguments = {**_with_engine(arguments), **origin.arguments()}
    if not shared:
        loaded = kind.load_model(name, **arguments)
        kind.check_config(loaded.config)
        return kind(loaded, processor, batch_size=batch_size, **options)
    # To fail here, not in a worker.
    given = arguments.get("config")
    kind.check_config(given or AutoConfig.from_pretrained(name, **origin.arguments()))
    sent = {"kind": kind, "image_processor": processor, "threads": 1, **arguments}
    Loader.of(load_pipeline, **sent)  # likewise
    load = partial(kind.load_model, name, **arguments)
    share = partial(shared_loader, load=load_pipeline, model=name, **sent)
    return kind(load, processor, batch_size=batch_size, workers=workers, share=share, **options)


def load_pipeline(kind: type[Pipeline], model: str, image_processor: ConvNextImageProcessor, **arguments: Any) -> Any:
    """Return a pipeline without workers: what each of the workers loads."""
    return kind(kind.load_model(model, **arguments), image_processor)


def _with_engine(model_arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with an engine: the fast one, where it can run and no other is asked for."""
    arguments = {"dtype": "float32", **model_arguments}
    dtype, device = arguments["dtype"], parse_device(arguments.get("device"))
    if not (isinstance(dtype, str) and dtype == "auto"):
        dtype = parse_dtype(dtype).name
    engine = "fast" if (dtype, device) == ("float32", "cpu") else "explicit"
    return {"engine": engine, **arguments, "dtype": dtype, "device": device}


def _processor(given: Any, origin: Origin) -> ConvNextImageProcessor:
    """Return an image processor, loaded if only its name is given."""
    is_loaded = isinstance(given, ConvNextImageProcessor)
    return given if is_loaded else AutoImageProcessor.from_pretrained(given, **origin.arguments())
