"""The base of all model classes: a configuration and a tree of parameters, loaded, saved and counted."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from npconv.api.folded import cached_fold
from npconv.backend import array_module, to_device, to_host
from npconv.errors import ConfigError, InputError, NpconvWarning, WeightsError
from npconv.fast.engine import Engine
from npconv.files.checkpoint import load_checkpoint, publish_checkpoint, save_checkpoint
from npconv.files.disk import locate
from npconv.files.dtypes import DeferredArray
from npconv.files.locks import staged
from npconv.forks import kept_property, whole_to_forks
from npconv.messages import listed
from npconv.models import Family, PretrainedConfig
from npconv.models.configuration import read_config_file
from npconv.models.parameters import (
    LoadReport,
    MisfitError,
    Shapes,
    count_parameters,
    flatten,
    is_buffer,
    map_tree,
    match,
    nest,
    random_parameters,
)

Self = TypeVar("Self", bound="PreTrainedModel")

#: Arguments of ``from_pretrained`` in transformers that change nothing here.
LOADING_WITHOUT_EFFECT = (
    "attn_implementation",
    "force_download",
    "local_files_only",
    "low_cpu_mem_usage",
    "token",
    "trust_remote_code",
    "use_safetensors",
)

DTYPES = ("float16", "float32", "float64")
ENGINES = ("explicit", "fast")


class PreTrainedModel:
    """Base of the model classes.

    Parameters
    ----------
    config : PretrainedConfig
        Of the class's own family.
    state_dict : mapping of str to array, optional
        Parameters by their names in a Hugging Face checkpoint. Random ones when unset.
    seed : int
        Of the random parameters.
    dtype : str or dtype
        ``"float16"``, ``"float32"`` or ``"float64"``: of the parameters, and so of every intermediate array.
    device : str
        ``"cpu"`` or ``"cuda"`` (CuPy).
    engine : str
        ``"explicit"``: the functions of ``npconv.models``, one layer a line. ``"fast"``: tuned for CPUs, float32 and
        inference only; the parameters are folded when the model is made, and later changes of them have no effect.
    threads : int, optional
        Of the fast engine; all cores that this process may use when unset.
    folded : mapping, optional
        Of the fast engine: what the family's ``fast.fold`` gives for these parameters, if it is there already.

    Attributes
    ----------
    family, task
        Of the class: a :class:`npconv.models.Family`, and one of its tasks.
    config : PretrainedConfig
    params : dict
        The tree of parameters; its keys are the parts of the names in the checkpoint.
    loading_report : LoadReport
        What the loaded file lacked (``missing``) and had too much (``unexpected``).

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

    #: How the names of parameters begin that no published file holds: they start at their first value, with a warning.
    _never_published: ClassVar[str | None] = None

    def __init__(
        self,
        config: PretrainedConfig,
        state_dict: Mapping[str, Any] | None = None,
        seed: int = 0,
        dtype: Any = "float32",
        *,
        device: str = "cpu",
        engine: str = "explicit",
        threads: int | None = None,
        folded: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(config, self.config_class):
            expected, got = self.config_class.__name__, type(config).__name__
            raise ConfigError(f"{type(self).__name__}: expected a {expected}, got a {got}")
        self.dtype = parse_dtype(dtype)
        _check_engine(engine, self.dtype, device)
        self.loading_report = LoadReport()
        self.config = config
        self.device = device
        self.engine = engine
        shapes = self.parameter_shapes(config)
        if state_dict is None:
            tensors = dict(random_parameters(shapes, config, seed))
        else:
            tensors, _ = match(state_dict, shapes, prefix=f"{self.base_model_prefix}.")
        _check_dtypes(tensors)
        self._fast_engine: Engine | None = None
        if engine == "fast":
            self._tensors = {name: _on_host(tensor) for name, tensor in tensors.items()}
            fast = self.family.part("fast")
            with whole_to_forks():
                folded = fast.fold(config, nest(self._tensors)) if folded is None else folded
            self._fast_engine = fast.make_engine(config, folded, threads)
        else:
            self.params = self._place(tensors)

    @classmethod
    def parameter_shapes(cls, config: Any) -> Shapes:
        """Return the shape of every parameter by its name in a checkpoint, without making any array."""
        shapes: Shapes = getattr(cls.family.part("model"), f"{cls.task}_shapes")(config)
        return shapes

    @classmethod
    def from_pretrained(
        cls: type[Self],
        model: str | Path,
        *,
        config: PretrainedConfig | None = None,
        dtype: Any = "float32",
        device: str = "cpu",
        engine: str = "explicit",
        threads: int | None = None,
        cache: bool | str | Path = False,
        strict: bool = True,
        revision: str = "main",
        **config_overrides: Any,
    ) -> Self:
        """Load a model.

        Parameters
        ----------
        model : str or Path
            An embedded model's name, a directory in Hugging Face layout, a ``.safetensors`` file with its
            ``config.json`` beside it, or a hub id.
        config : PretrainedConfig, optional
            In place of the model's own.
        dtype : str or dtype
            ``"float16"``, ``"float32"``, ``"float64"``, or ``"auto"`` for that of the file (float32 with
            the fast engine).
        device, engine, threads
            See the class.
        cache : bool, str or Path
            Of the fast engine: keep the folded weights in a file, and map it, so that processes that run the same model
            share them in memory. True for one in the model's folder, or another folder. See ``npconv.api.folded``.
        strict : bool
            Refuse a file that lacks a parameter or has one too many. With False, a missing head is random and what is
            too much is left out; a warning and ``loading_report`` name both. A file that lacks more is refused.
        revision : str
            Of a hub id: branch, tag or commit.
        **config_overrides
            Fields of the configuration to replace, such as ``out_features=["stage2"]``. ``torch_dtype`` is taken as
            `dtype`.

        Raises
        ------
        NpconvError
            If there is no such model, or its configuration or weights cannot be used.
        """
        overrides = {name: value for name, value in config_overrides.items() if name not in LOADING_WITHOUT_EFFECT}
        dtype = overrides.pop("torch_dtype", dtype)  # the older name of the same argument
        if config is not None and overrides:
            raise InputError(
                f"expected a config or its fields, got both: {', '.join(overrides)}; set them in the config"
            )
        path = locate(model, revision=revision)
        if config is None:
            config = cls.config_class.from_dict(read_config_file(path), **overrides)
        if cache and engine != "fast":
            raise InputError(f"expected engine 'fast' beside cache, got {engine!r}; the explicit one folds nothing")
        tensors, report = cls._load_tensors(path, config, strict)
        _check_dtypes(tensors)
        _warn(cls.__name__, report)
        if not cache:  # whose file was made from weights that were looked at, and is not read whole
            _warn_not_finite(tensors)
        if isinstance(dtype, str) and dtype == "auto":
            dtype = "float32" if engine == "fast" else _dtype_of(tensors)
        _check_engine(engine, parse_dtype(dtype), device)
        folded = None
        if cache:
            shapes = cls.parameter_shapes(config)
            fold = cls.family.part("fast").fold

            def folded_now() -> Any:
                _warn_not_finite(tensors)
                return fold(config, nest(tensors))

            folded = cached_fold(cache, path, config, shapes, folded_now)
        loaded = cls(config, tensors, dtype=dtype, device=device, engine=engine, threads=threads, folded=folded)
        loaded.loading_report = report
        return loaded

    @classmethod
    def _load_tensors(cls, path: Path, config: PretrainedConfig, strict: bool) -> tuple[dict[str, Any], LoadReport]:
        """Return the model's parameters from a checkpoint, and what did not fit."""
        shapes = cls.parameter_shapes(config)
        stored = dict(load_checkpoint(path, lazy=True))
        untrained = [name for name in shapes if cls._never_published and name.startswith(cls._never_published)]
        untrained = [name for name in untrained if name not in stored]
        ignored = cls.family.part("model").OF_OTHER_TASKS[cls.task]
        try:
            tensors, report = match(
                {**stored, **_first_values(untrained, shapes, config)},
                shapes,
                prefix=f"{cls.base_model_prefix}.",
                ignore=[*ignored, *(f"{cls.base_model_prefix}.{pattern}" for pattern in ignored)],
                strict=strict,
                head=cls.family.part("model").OF_OTHER_TASKS["model"],
            )
        except MisfitError as error:
            raise WeightsError(_with_way_out(path, stored, error)) from None
        if report.unexpected and (reason := _what_else(stored)):  # their numbers are not the weights
            raise WeightsError(reason)
        tensors |= _first_values(report.missing, shapes, config)
        return tensors, LoadReport((*untrained, *report.missing), report.unexpected)

    def save_pretrained(self, directory: str | Path, *, max_shard_size: int | str | None = None) -> None:
        """Write ``config.json`` and ``model.safetensors`` as transformers reads them.

        Parameters
        ----------
        directory : str or Path
            Made if it is not there.
        max_shard_size : int or str, optional
            In bytes, or as ``"200MB"``; larger models are cut into several files with an index.

        Raises
        ------
        ConfigError, WeightsError
            If the files cannot be written.
        """
        fields = {name: value for name, value in self.config.to_dict().items() if name != "torch_dtype"}
        fields |= {"architectures": [type(self).__name__], "dtype": str(_dtype_of(self.state_dict()))}
        tensors = {name: to_host(array) for name, array in self.state_dict().items()}
        if os.path.lexists(directory) and not os.path.isdir(directory):
            raise ConfigError(f"{directory}: config.json cannot be written: not a folder; give another directory")
        with staged(directory, wait=True) as staging:
            self.config.from_dict(fields).save_pretrained(staging)
            save_checkpoint(staging, tensors, metadata={"format": "pt"}, max_shard_size=max_shard_size)
            publish_checkpoint(staging, Path(directory), "config.json")

    def eval(self: Self) -> Self:
        """Return the model as it is: a call is inference unless it says ``training=True``."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return all parameters and stored statistics by their names in a checkpoint."""
        return flatten(self.params)

    def num_parameters(self) -> int:
        """Return the number of trained parameters (stored batch-norm statistics do not count)."""
        return count_parameters(self.parameter_shapes(self.config))

    @kept_property
    def params(self) -> dict[str, Any]:
        """The parameters as they came, of any dtype: the fast engine, which has folded copies, leaves them so."""
        return map_tree(_decoded, nest(self._tensors))

    @kept_property
    def not_finite(self) -> dict[str, int]:
        """Names of parameters with NaN or infinities, and how many."""
        return _count_not_finite(flatten(self.params))

    def _place(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters as a tree of new arrays in the model's dtype, on its device."""

        def place(tensor: Any) -> Any:
            dtype = self.dtype if tensor.dtype.kind == "f" else tensor.dtype
            return to_device(_decoded(tensor).astype(dtype, copy=True), self.device)

        return map_tree(place, nest(tensors))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.num_parameters():,} parameters, dtype={self.dtype}, device={self.device!r}, "
            f"engine={self.engine!r})"
        )


def parse_dtype(dtype: Any) -> np.dtype:
    """Return one of the three dtypes that models run in; another is an `InputError`."""
    try:
        parsed = np.dtype(dtype)
    except TypeError:
        parsed = None
    if parsed is None or parsed.name not in DTYPES:
        raise InputError(f"expected dtype to be one of {', '.join(DTYPES)}; got {dtype!r} (for bfloat16 take float32)")
    return parsed


def _check_engine(engine: str, dtype: np.dtype, device: str) -> None:
    """Refuse an engine that is unknown or cannot run so."""
    if engine not in ENGINES:
        raise InputError(f"expected engine to be one of {', '.join(ENGINES)}; got {engine!r}")
    if engine == "fast" and (dtype != np.float32 or device != "cpu"):
        raise InputError(
            f"engine 'fast' runs in float32 on the CPU, got {dtype} on {device!r}; use engine='explicit' for these"
        )


def _on_host(tensor: Any) -> Any:
    """Return a tensor without the device; one that is stored otherwise than NumPy can stays so."""
    return tensor if isinstance(tensor, DeferredArray) else to_host(tensor)


def _decoded(tensor: Any) -> Any:
    """Return a tensor as an array."""
    return np.asarray(tensor) if isinstance(tensor, DeferredArray) else tensor


def _check_dtypes(tensors: Mapping[str, Any]) -> None:
    """Refuse tensors of another framework, and parameters that are no floating-point numbers."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, DeferredArray):
            array_module(tensor)
        if tensor.dtype.kind != "f" and not name.endswith("num_batches_tracked"):
            raise WeightsError(
                f"expected floating-point numbers for {name}, got {tensor.dtype}: quantised weights mean nothing "
                "without their scales; take the weights as they were before quantisation"
            )


def _first_values(names: Collection[str], shapes: Shapes, config: PretrainedConfig) -> dict[str, np.ndarray]:
    """Return the first values of some of the parameters."""
    wanted = set(names)
    return {name: value for name, value in random_parameters(shapes, config, 0) if name in wanted} if wanted else {}


def _dtype_of(tensors: Mapping[str, Any]) -> np.dtype:
    """Return the widest floating dtype of the tensors."""
    return np.result_type(*(array.dtype for name, array in tensors.items() if not is_buffer(name)))


def _what_else(stored: Mapping[str, Any]) -> str:
    """Return what a file holds in the place of weights; an empty text if nothing says so."""
    from npconv.convert.strangers import what_else  # only here: most files fit

    return what_else(stored)


def _with_way_out(path: Path, stored: Mapping[str, Any], error: MisfitError) -> str:
    """Return why a file does not fit, and what to do: what it is, or that `npconv convert` understands it."""
    from npconv.convert.translate import detect, to_hugging_face

    if reason := _what_else(stored):
        return f"{error.found}; {reason}"
    if error.is_head_only:
        return str(error)
    try:
        renamed = to_hugging_face(stored, detect(stored))
    except WeightsError:
        renamed = {}
    if not renamed or renamed.keys() == stored.keys():
        return f"{error}; does the configuration belong to these weights?"
    return f"{error}; they are named as elsewhere: npconv convert {shlex.quote(str(path))} FOLDER names them anew"


def _count_not_finite(tensors: Mapping[str, Any]) -> dict[str, int]:
    """Return the names of tensors with NaN or infinities, and how many."""
    found = {}
    for name, tensor in tensors.items():
        values = to_host(_decoded(tensor))
        if values.dtype.kind == "f" and values.size and not np.isfinite([values.min(), values.max()]).all():
            found[name] = int(values.size - np.count_nonzero(np.isfinite(values)))
    return found


def _warn_not_finite(tensors: Mapping[str, Any]) -> None:
    """Name the tensors with NaN or infinities: what is computed with them means nothing."""
    if found := _count_not_finite(tensors):
        places = listed([f"{count} in {name}" for name, count in found.items()])
        warnings.warn(f"the weights hold NaN or infinity: {places}; take another file", NpconvWarning, stacklevel=3)


def _warn(name: str, report: LoadReport) -> None:
    """Say what was missing and what was left out."""
    if report.missing:
        warnings.warn(
            f"{name}: not in the file, so at their first values and never trained: {listed(report.missing)}",
            NpconvWarning,
            stacklevel=3,
        )
    if report.unexpected:
        warnings.warn(f"{name}: in the file and left out: {listed(report.unexpected)}", NpconvWarning, stacklevel=3)
