"""What the models return. Names and fields are those of transformers."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from npconv.models.tree import rows, summary

#: Maps that an output shows, of those of each kind.
MOST_MAPS = 6


class ModelOutput:
    """Base of the outputs: attributes that can also be read as a dict or as a tuple.

    ``output.logits``, ``output["logits"]`` and ``output[0]`` are the same; fields that are None do not count.
    """

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the fields that are set, in order."""
        return tuple(self._set_fields().values())

    def keys(self) -> KeysView[str]:
        """Return the names of the fields that are set."""
        return self._set_fields().keys()

    def values(self) -> ValuesView[Any]:
        """Return the fields that are set."""
        return self._set_fields().values()

    def items(self) -> ItemsView[str, Any]:
        """Return (name, field) for the fields that are set."""
        return self._set_fields().items()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field by name, or `default` if it is not set."""
        return self._set_fields().get(key, default)

    def __getitem__(self, key: str | int | slice) -> Any:
        return self._set_fields()[key] if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in {field.name for field in fields(self)}:  # type: ignore[arg-type]
            raise KeyError(key)
        setattr(self, key, value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._set_fields())

    def __len__(self) -> int:
        return len(self._set_fields())

    def __contains__(self, key: object) -> bool:
        return key in self._set_fields()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}("]
        for name, value in self._set_fields().items():
            if isinstance(value, list | tuple):
                lines += [f"  {name}=(", *rows(value, "    ", MOST_MAPS), "  )"]
            else:
                lines.append(f"  {name}={summary(value)}")
        return "\n".join([*lines, ")"])

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from npconv.api.notebook import output_note

        return output_note(type(self).__name__, self._set_fields())

    def _set_fields(self) -> dict[str, Any]:
        """Return the fields that are not None."""
        every = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in every.items() if value is not None}


@dataclass(eq=False, repr=False)
class BaseModelOutputWithPoolingAndNoAttention(ModelOutput):
    """Output of bare models with pooled features.

    Attributes
    ----------
    last_hidden_state : array (N, C, H, W)
        The last stage's map.
    pooler_output : array (N, C)
        The normalized mean of that map over its positions; the mean of the normalized map with ``head_norm_first``.
        None with ``add_pooling_layer=False``.
    hidden_states : tuple of arrays (N, C, H, W), optional
        The stem's map and each stage's.
    """

    last_hidden_state: Any = None
    pooler_output: Any = None
    hidden_states: tuple[Any, ...] | None = None


@dataclass(eq=False, repr=False)
class BaseModelOutputWithCLSToken(ModelOutput):
    """Output of bare models with a class token.

    Attributes
    ----------
    last_hidden_state : array (N, C, H, W)
        The last stage's map.
    cls_token_value : array (N, 1, C), optional
        The class token after the last stage, if that stage has one.
    hidden_states : tuple of arrays (N, C, H, W), optional
        Each stage's map.
    """

    last_hidden_state: Any = None
    cls_token_value: Any = None
    hidden_states: tuple[Any, ...] | None = None


@dataclass(eq=False, repr=False)
class ImageClassifierOutputWithNoAttention(ModelOutput):
    """Output of the image classifiers.

    Attributes
    ----------
    loss : array (), optional
        When the call had labels. The documents of transformers promise (1,); what it gives is ().
    logits : array (N, K)
        Scores before the softmax.
    hidden_states : tuple of arrays (N, C, H, W), optional
        As in the bare model.
    """

    loss: Any = None
    logits: Any = None
    hidden_states: tuple[Any, ...] | None = None


@dataclass(eq=False, repr=False)
class BackboneOutput(ModelOutput):
    """Output of the backbones.

    Attributes
    ----------
    feature_maps : tuple of arrays (N, C, H, W)
        The normalized maps of ``config.out_features``, in that order.
    hidden_states : tuple of arrays (N, C, H, W), optional
        The stem's map and each stage's, not normalized.
    attentions : None
        These models have none to give out.
    """

    feature_maps: tuple[Any, ...] | None = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: None = None


@dataclass(eq=False, repr=False)
class TFBaseModelOutputWithPooling(BaseModelOutputWithPoolingAndNoAttention):
    """Output of ``TFConvNextModel``: the fields of the class it is made of, and ``attentions``, which is None."""

    attentions: None = None


@dataclass(eq=False, repr=False)
class TFBaseModelOutputWithPoolingAndNoAttention(BaseModelOutputWithPoolingAndNoAttention):
    """Output of ``TFConvNextV2Model``."""


@dataclass(eq=False, repr=False)
class TFBaseModelOutputWithCLSToken(BaseModelOutputWithCLSToken):
    """Output of ``TFCvtModel``."""


@dataclass(eq=False, repr=False)
class TFImageClassifierOutputWithNoAttention(ImageClassifierOutputWithNoAttention):
    """Output of ``TFConvNextV2ForImageClassification`` and ``TFCvtForImageClassification``; the loss is (1,)."""

    has_sample_losses: ClassVar[bool] = False


@dataclass(eq=False, repr=False)
class TFSequenceClassifierOutput(ImageClassifierOutputWithNoAttention):
    """Output of ``TFConvNextForImageClassification``; the loss is (N,), ``attentions`` is None."""

    has_sample_losses: ClassVar[bool] = True
    attentions: None = None


def model_output(**fields: Any) -> ModelOutput:
    """Return the output of a bare model that has these fields, of the kind that transformers gives."""
    kinds: tuple[type[ModelOutput], ...] = (BaseModelOutputWithPoolingAndNoAttention, BaseModelOutputWithCLSToken)
    return next(kind for kind in kinds if fields.keys() == kind.__annotations__.keys())(**fields)
