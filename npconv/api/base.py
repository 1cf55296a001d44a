"""The base of all model classes: a configuration and a tree of parameters, loaded, saved and counted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from npconv.api.holder import ParameterHolder
from npconv.api.loading import (
    check_dtypes,
    choose_config,
    dtype_of,
    load_tensors,
    loading_info,
    warn_misfit,
    warn_not_finite,
)
from npconv.backend import parse_device, parse_dtype, to_host, warn_bfloat16
from npconv.errors import ConfigError, InputError
from npconv.files.checkpoint import publish_checkpoint, save_checkpoint
from npconv.files.disk import locate
from npconv.files.loading_arguments import sort_out
from npconv.files.locks import staged
from npconv.files.saving_arguments import directory_to_write, refuse_upload
from npconv.models import Family, PretrainedConfig
from npconv.models.parameters import (
    LoadReport,
    match,
    nest,
    random_parameters,
)
from npconv.tensors import as_array

Self = TypeVar("Self", bound="PreTrainedModel")

ENGINES = ("explicit", "fast")


class PreTrainedModel(ParameterHolder):
    """Base of the model classes.

    What is typed on a ``torch.nn.Module`` works (:class:`npconv.api.module.Module`), and parts are attributes:
    ``model.classifier.weight`` is an array that the model computes with. It may be written to in place, or set; a part
    is set by arrays of the same names and shapes, or a layer that has them. Gradients are what
    :func:`npconv.value_and_grad` returns, 0 where ``requires_grad`` is False; no parameter holds one, and ``zero_grad``
    does nothing.

    Parameters
    ----------
    config : PretrainedConfig
        Of the class's own family.
    state_dict : mapping of str to array, optional
        Parameters by their names in a Hugging Face checkpoint. Random ones when unset.
    seed : int
        Of the random parameters.
    dtype : str or dtype
        ``"float16"``, ``"float32"`` or ``"float64"``: of the parameters, and so of every intermediate array. A dtype of
        torch, TensorFlow or JAX is understood as well; bfloat16 is computed in float32, with a warning.
    device : str, int or torch.device
        ``"cpu"`` or ``"cuda"`` (CuPy), also in torch's forms: ``"cuda:0"``, 0 for the first GPU, -1 for the CPU.
    engine : str
        ``"explicit"``: the functions of ``npconv.models``, one layer a line. ``"fast"``: tuned for CPUs, float32 and
        inference only; the parameters are folded when the model is made and by :meth:`load_state_dict`; other changes
        of them are refused or have no effect.
    threads : int, optional
        Of the fast engine; all cores that this process may use when unset.
    folded : mapping, optional
        Of the fast engine: what the family's ``fast.fold`` gives for these parameters, if it is there already.
    add_pooling_layer : bool
        Of a bare model: give out pooled features; without them ``pooler_output`` is None. CvT has none anyway.

    Attributes
    ----------
    family, task
        Of the class: a :class:`npconv.models.Family`, and one of its tasks.
    config : PretrainedConfig
    params : dict
        The tree of parameters; its keys are the parts of the names in the checkpoint.
    training : bool
        Whether a call that does not say ``training=`` applies dropout and drop path: False until :meth:`train`.
    dtype, device
        Of the parameters.
    name_or_path : str
        What it was loaded from; empty for a new model.
    loading_report : LoadReport
        What the loaded file lacked (``missing``) and had too much (``unexpected``).
    loaded_from : Path, optional
        The folder or file where it was found.

    Raises
    ------
    ConfigError, InputError, WeightsError, UnavailableError
        If the configuration is of another family, an argument unknown, a parameter missing or misshapen, the device
        not there.
    """

    family: ClassVar[Family]
    task: ClassVar[str]
    config_class: ClassVar[type[PretrainedConfig]]
    base_model_prefix: ClassVar[str]
    main_input_name = "pixel_values"
    loaded_from: Path | None = None

    #: How the names of parameters begin that no published file holds: they start at their first value, with a warning.
    never_published: ClassVar[str | None] = None

    def __init__(
        self,
        config: PretrainedConfig,
        state_dict: Mapping[str, Any] | None = None,
        seed: int = 0,
        dtype: Any = "float32",
        *,
        device: Any = "cpu",
        engine: str = "explicit",
        threads: int | None = None,
        folded: Mapping[str, Any] | None = None,
        add_pooling_layer: bool = True,
    ) -> None:
        if not isinstance(config, self.config_class):
            expected, got = self.config_class.__name__, type(config).__name__
            raise ConfigError(f"{type(self).__name__}: expected a {expected}, got a {got}")
        wanted, device = parse_dtype(dtype), parse_device(device)
        _check_engine(engine, wanted, device)
        if not add_pooling_layer and self.task != "model":
            raise InputError(f"expected add_pooling_layer with a bare model, got it with {type(self).__name__}")
        self.add_pooling_layer = add_pooling_layer
        self.loading_report = LoadReport()
        self.config = config
        self.engine = engine
        self.name_or_path = ""
        shapes = self.parameter_shapes(config)
        if state_dict is None:
            tensors = dict(random_parameters(shapes, config, seed))
        else:
            arrays = {name: as_array(tensor) for name, tensor in state_dict.items()}
            tensors, _ = match(arrays, shapes, prefix=f"{self.base_model_prefix}.")
        check_dtypes(tensors)
        self._hold(tensors, wanted, device, threads, folded)

    @classmethod
    def from_pretrained(
        cls: type[Self],
        model: str | Path | None = None,
        *,
        config: PretrainedConfig | str | Path | None = None,
        dtype: Any = "float32",
        device: Any = "cpu",
        engine: str = "explicit",
        threads: int | None = None,
        cache: bool | str | Path = False,
        strict: bool = True,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        add_pooling_layer: bool = True,
        **arguments: Any,
    ) -> Self:
        """Load a model.

        Parameters
        ----------
        model : str or Path
            An embedded model's name, a directory in Hugging Face layout, a ``.safetensors`` file with its
            ``config.json`` beside it, or a hub id.
        config : PretrainedConfig, str or Path, optional
            In place of the model's own; or the name of a model whose configuration is taken.
        dtype : str or dtype
            As in the class, or ``"auto"`` for that of the file (float32 with the fast engine).
        device, engine, threads, add_pooling_layer
            See the class.
        cache : bool, str or Path
            Of the fast engine: keep the folded weights in a file, and map it, so that processes that run the same model
            share them in memory. True for one in the model's folder, or another folder. See ``npconv.api.folded``.
        strict : bool
            Refuse a file that lacks a parameter or has one too many. With False, a missing head is random and what is
            too much is left out; a warning and ``loading_report`` name both. A file that lacks more is refused.
        ignore_mismatched_sizes : bool
            Put new parameters, with a warning, in the place of those that have another shape in the file: a new head,
            after ``num_labels=10`` or ``id2label={...}``. A head that the file lacks is then new as well.
        output_loading_info : bool
            Return a tuple: the model, and a dict with ``missing_keys``, ``unexpected_keys`` and ``mismatched_keys``.
        **arguments
            Fields of the configuration to replace, such as ``out_features=["stage2"]``. ``subfolder`` and ``variant``
            (``"fp16"`` for ``model.fp16.safetensors``) say where in the model's folder the files are. Of a hub id:
            ``revision`` (branch, tag or commit), ``cache_dir``, ``token``, ``local_files_only``, ``force_download`` and
            ``proxies``. ``torch_dtype`` is taken as `dtype`, and a ``device_map`` that names a device as `device`. What
            else transformers takes to say how to load has no effect: ``npconv/files/loading_arguments.py`` lists it.

        Raises
        ------
        NpconvError
            If there is no such model, its configuration or weights cannot be used, or an argument is unknown.
        """
        model = arguments.pop("pretrained_model_name_or_path", model)
        origin, overrides = sort_out(arguments)
        dtype, device = overrides.pop("dtype", dtype), overrides.pop("device", device)
        path = locate(model, origin)
        config = choose_config(cls, model, path, config, origin, overrides)
        if cache and engine != "fast":
            raise InputError(f"expected engine 'fast' beside cache, got {engine!r}; the explicit one folds nothing")
        tensors, report = load_tensors(cls, path, config, strict, ignore_mismatched_sizes)
        check_dtypes(tensors)
        warn_misfit(cls.__name__, report)
        if not cache:  # whose file was made from weights that were looked at, and is not read whole
            warn_not_finite(tensors)
        if isinstance(dtype, str) and dtype == "auto":
            dtype = _dtype_in_file(tensors, engine)
        dtype, device = parse_dtype(dtype), parse_device(device)
        _check_engine(engine, dtype, device)
        loaded = cls(
            config,
            tensors,
            dtype=dtype,
            device=device,
            engine=engine,
            threads=threads,
            folded=_folded(cls, cache, path, config, tensors) if cache else None,
            add_pooling_layer=add_pooling_layer,
        )
        loaded.loading_report = report
        loaded.name_or_path = str(model)
        loaded.loaded_from = Path(os.path.abspath(path))  # as the working directory may change
        return (loaded, loading_info(report)) if output_loading_info else loaded  # type: ignore[return-value]

    push_to_hub = refuse_upload

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from npconv.api.notebook import model_note

        return model_note(self)

    def save_pretrained(
        self,
        directory: str | Path | None = None,
        *,
        max_shard_size: int | str | None = None,
        state_dict: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        """Write ``config.json`` and ``model.safetensors`` as transformers reads them.

        Parameters
        ----------
        directory : str or Path
            Made if it is not there.
        max_shard_size : int or str, optional
            In bytes, or as ``"200MB"``; larger models are cut into several files with an index.
        state_dict : mapping of str to array or tensor, optional
            In place of the model's own parameters.
        **arguments
            ``is_main_process=False`` to write nothing. What else transformers takes has no effect:
            ``npconv/files/saving_arguments.py`` lists it.

        Raises
        ------
        ConfigError, InputError, WeightsError
            If the files cannot be written, an argument is unknown, or `state_dict` does not fit.
        """
        directory = directory_to_write(f"{type(self).__name__}.save_pretrained", directory, arguments)
        if directory is None:
            return
        state = self.state_dict() if state_dict is None else self._matched(state_dict, strict=True)[0]
        fields = {name: value for name, value in self.config.to_dict().items() if name != "torch_dtype"}
        fields |= {"architectures": [type(self).__name__.removeprefix("TF")], "dtype": str(dtype_of(state))}
        tensors = {name: to_host(array) for name, array in state.items()}
        if os.path.lexists(directory) and not os.path.isdir(directory):
            raise ConfigError(f"{directory}: config.json cannot be written: not a folder; give another directory")
        with staged(directory, wait=True) as staging:
            self.config.from_dict(fields).save_pretrained(staging)
            save_checkpoint(staging, tensors, metadata={"format": "pt"}, max_shard_size=max_shard_size)
            publish_checkpoint(staging, Path(directory), "config.json")


def _dtype_in_file(tensors: Mapping[str, Any], engine: str) -> np.dtype:
    """Return the dtype of the tensors of a file, as far as an engine has it; NumPy has no bfloat16, which is said."""
    dtype = np.dtype("float32") if engine == "fast" else dtype_of(tensors)
    if dtype == np.float32 and any(getattr(tensor, "stored", "") == "BF16" for tensor in tensors.values()):
        warn_bfloat16(stacklevel=4)
    return dtype


def _folded(
    kind: type[PreTrainedModel], cache: bool | str | Path, path: Path, config: PretrainedConfig, tensors: dict[str, Any]
) -> Mapping[str, Any]:
    """Return the folded parameters of a model of some class, from their file or made anew."""
    from npconv.api.folded import cached_fold  # only here: it loads what starts workers

    def folded_now() -> Any:
        warn_not_finite(tensors)
        return kind.family.part("fast").fold(config, nest(tensors))

    return cached_fold(cache, path, config, kind.parameter_shapes(config), folded_now)


def _check_engine(engine: str, dtype: np.dtype, device: str) -> None:
    """Refuse an engine that is unknown or cannot run so."""
    if engine not in ENGINES:
        raise InputError(f"expected engine to be one of {', '.join(ENGINES)}; got {engine!r}")
    if engine == "fast" and (dtype != np.float32 or device != "cpu"):
        raise InputError(
            f"engine 'fast' runs in float32 on the CPU, got {dtype} on {device!r}; use engine='explicit' for these"
        )
