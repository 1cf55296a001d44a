"""What models return, under the name of the module in transformers; the classes are those of npconv.api.outputs."""

from npconv.api.outputs import (
    BackboneOutput,
    BaseModelOutputWithCLSToken,
    BaseModelOutputWithPoolingAndNoAttention,
    ImageClassifierOutputWithNoAttention,
    ModelOutput,
    TFBaseModelOutputWithCLSToken,
    TFBaseModelOutputWithPooling,
    TFBaseModelOutputWithPoolingAndNoAttention,
    TFImageClassifierOutputWithNoAttention,
    TFSequenceClassifierOutput,
)

__all__ = [
    "BackboneOutput",
    "BaseModelOutputWithCLSToken",
    "BaseModelOutputWithPoolingAndNoAttention",
    "ImageClassifierOutputWithNoAttention",
    "ModelOutput",
    "TFBaseModelOutputWithCLSToken",
    "TFBaseModelOutputWithPooling",
    "TFBaseModelOutputWithPoolingAndNoAttention",
    "TFImageClassifierOutputWithNoAttention",
    "TFSequenceClassifierOutput",
]
