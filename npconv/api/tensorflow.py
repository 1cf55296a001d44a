"""The classes that transformers had for TensorFlow: the same models, called and answering as their documents say.

There is no TensorFlow in them. They take and give NumPy (or CuPy) arrays (N, C, H, W), load and write the same files as
the classes without ``TF`` and run the same functions. The documents are what they follow: transformers has dropped
these classes.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from npconv.api.heads import BareModel, HiddenStates, ImageClassifier, Output
from npconv.api.loss import image_classification_loss, sample_losses
from npconv.api.outputs import ImageClassifierOutputWithNoAttention, ModelOutput


class TFPreTrainedModel(BareModel[Output]):
    """Base of these classes: one of the bare models, which answers with another class of outputs."""

    output_class: ClassVar[Any]

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model: the documents' name for calling it."""
        return self(*args, **kwargs)

    def _forward(
        self, pixel_values: Any, labels: Any, rng: np.random.Generator | None, *, every_map: bool
    ) -> ModelOutput:
        """Run the model as without TensorFlow and return its fields in the class that the documents name."""
        output: ModelOutput = self.output_class(
            **vars(super()._forward(pixel_values, labels, rng, every_map=every_map))
        )
        return output


class TFImageClassifier(TFPreTrainedModel[ImageClassifierOutputWithNoAttention], ImageClassifier):
    """Base of the classifiers whose labels come second, as in PyTorch."""

    def _loss(self, logits: Any, labels: Any) -> Any:
        """Return the loss of each sample (N,), or their mean (1,), as the documents of the output promise."""
        if self.output_class.has_sample_losses:
            return sample_losses(logits, labels, self.config)
        return image_classification_loss(logits, labels, self.config).reshape(1)


class TFImageClassifierLabelsLast(TFImageClassifier):
    """Base of the classifiers whose labels come after the options."""

    def __call__(  # type: ignore[override]  # the order is that of the documents
        self,
        pixel_values: Any = None,
        output_hidden_states: HiddenStates = None,
        return_dict: bool | None = None,
        labels: Any = None,
        training: bool | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> Any:
        """Run the classifier: the arguments of :class:`npconv.api.heads.ImageClassifier` in another order."""
        return super().__call__(pixel_values, labels, output_hidden_states, return_dict, training, rng)
