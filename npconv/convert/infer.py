"""The configuration of a model from its tensors, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from npconv.convert.architectures import Published, depths_and_widths, find_published, find_timm
from npconv.convert.dialect import Dialect
from npconv.convert.structure import CONFIGS, Structure, check_complete, structure
from npconv.errors import WeightsError
from npconv.models.configuration import PretrainedConfig

_CLASSES = {"convnext": "ConvNext", "convnextv2": "ConvNextV2", "cvt": "Cvt"}
_TASKS = {"image_classification": "ForImageClassification", "model": "Model", "backbone": "Backbone"}

#: Examples for messages.
_EXAMPLES = {
    "num_heads": "num_heads=[1, 3, 6]",
    "patch_stride": "patch_stride=[4, 2, 2]",
    "patch_padding": "patch_padding=[2, 1, 1]",
    "stride_kv": "stride_kv=[2, 2, 2]",
    "padding_kv": "padding_kv=[1, 1, 1]",
    "qkv_projection_method": "qkv_projection_method=['avg', 'avg', 'avg'] or ['linear', 'linear', 'linear']",
}


def infer_config(
    tensors: Mapping[str, Any], *, dialect: Dialect | None = None, **given: Any
) -> tuple[PretrainedConfig, list[str]]:
    """Return the configuration of a model and a sentence for each decision.

    Parameters
    ----------
    tensors : mapping of str to array
        In the names of Hugging Face, from :func:`to_hugging_face`; only names and shapes are looked at.
    dialect : Dialect, optional
        Where they came from, which decides the activation and the epsilon; Hugging Face when unset.
    **given
        Fields of the configuration, instead of what is found. Shapes do not show ``hidden_act`` nor ``norm_eps``, which
        are those of the published models; ``layer_norm_eps`` follows ``norm_eps`` where the dialect has one for both.

    Raises
    ------
    WeightsError
        If the tensors make no model, or they leave a field open; names the argument.
    ConfigError
        If a given field is none, or its value describes no model.
    """
    found = structure(tensors)
    check_complete(tensors, found)
    depths, widths = depths_and_widths(found.fields)
    published = find_published(found.family, depths, widths)
    fields, reasons = dict(found.fields), list(found.reasons)
    for name, value, why in (*_numbers(dialect, found, given), *_size(published), *_steps(published)):
        fields[name] = value
        reasons.append(f"{name} {value}: {why}")
    fields["architectures"] = [_CLASSES[found.family] + _TASKS[found.task]]
    reasons.append(f"architectures {fields['architectures']}: the parameters that are there")
    reasons += _implied(dialect)
    reasons = [reason for reason in reasons if reason.split(" ", 1)[0] not in given]
    reasons += [f"{name} {value}: given" for name, value in given.items()]
    _ask(found.open_fields, {**fields, **given}, depths, widths)
    return CONFIGS[found.family].from_dict(fields, **given), reasons


def _ask(open_fields: list[str], fields: Mapping[str, Any], depths: list[int], widths: list[int]) -> None:
    """Refuse to guess a field that the numbers depend on."""
    lacking = [name for name in open_fields if name not in fields]
    if lacking:
        raise WeightsError(
            f"{', '.join(lacking)}: not in the shapes, and depths {depths} with widths {widths} are not those of a "
            f"published model; give {' and '.join(_EXAMPLES[name] for name in lacking)}"
        )


def _numbers(dialect: Dialect | None, found: Structure, given: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Return the activation and the epsilons, which belong to the code that trained."""
    if dialect is None:
        return [("hidden_act", "gelu", "the default"), ("layer_norm_eps", 1e-12, "the default of transformers")]
    table, why = dialect.table, f"what {dialect.name} computes with"
    if not table.of_timm:
        return [("hidden_act", table.hidden_act, why), ("layer_norm_eps", table.layer_norm_eps, why)]
    config = found.config()
    model = find_timm(found.family, config.depths, config.hidden_sizes, config.stage_kernel_sizes)
    fields = {"hidden_act": table.hidden_act, "norm_eps": table.layer_norm_eps} | (model.fields if model else {})
    fields |= {name: given[name] for name in fields if name in given}
    numbers = []
    for name, value in fields.items():
        usual = f"{why} unless told otherwise; if it was, --set {name}=... says so"
        numbers.append((name, value, f"not in the shapes; that of timm's {model.name}" if model else usual))
    return [*numbers, ("layer_norm_eps", fields["norm_eps"], f"norm_eps, which {dialect.name} has for all LayerNorms")]


def _size(published: Published | None) -> list[tuple[str, Any, str]]:
    """Return the size of the pictures, on which no number of the model depends."""
    if published is None:
        return [("image_size", 224, "not in the shapes; no published model has these depths and widths")]
    return [("image_size", published.image_size, f"not in the shapes; that of {published.name}")]


def _steps(published: Published | None) -> list[tuple[str, Any, str]]:
    """Return the heads and the steps of a published CvT."""
    if published is None or not published.num_heads:
        return []
    why = f"not in the shapes; that of {published.name}"
    return [(name, value, why) for name, value in published.steps().items()]


def _implied(dialect: Dialect | None) -> list[str]:
    """Return a sentence for each parameter that the dialect does not store."""
    return [
        f"{pattern.text}: {implied.value} where the file has none, as {dialect.name} does not store it"
        for pattern, implied in (dialect.implied if dialect is not None else ())
        if dialect is not None and not implied.droppable
    ]
