"""Uses every public class; ``test_types.py`` has a type checker read it, and runs it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import npconv as n
from npconv.modeling_outputs import BaseModelOutputWithCLSToken, BaseModelOutputWithPoolingAndNoAttention

TINY: dict[str, Any] = {"hidden_sizes": [4, 6], "depths": [1, 1], "num_stages": 2, "patch_size": 2}
CVT: dict[str, Any] = {"embed_dim": [4, 6, 8], "num_heads": [1, 2, 2], "depth": [1, 1, 1]}
pixels = np.zeros((1, 3, 64, 64), np.float32)


def run(folder: str) -> None:
    """Make, save, load and call models of every class."""
    v1, v2, cvt = n.ConvNextConfig(**TINY), n.ConvNeXTV2Config(**TINY), n.CvtConfig(**CVT)
    dino = n.DINOv3ConvNextConfig(hidden_sizes=[4, 6, 8, 10], depths=[1, 1, 1, 1])
    configs: Sequence[n.PretrainedConfig | n.PreTrainedConfig] = (v1, v2, cvt, dino, n.ConvNextV2Config())
    plain: BaseModelOutputWithPoolingAndNoAttention = n.ConvNextModel(v1)(pixels)
    tokens: BaseModelOutputWithCLSToken = n.CvtModel(cvt)(pixels, output_hidden_states=True)
    shapes = [plain.pooler_output.shape, tokens.cls_token_value.shape, n.DINOv3ConvNextModel(dino)(pixels).to_tuple()]
    shapes += [model(pixels).last_hidden_state.shape for model in (n.ConvNextV2Model(v2), n.TFConvNextV2Model(v2))]
    shapes += [n.TFConvNextModel(v1)(pixels).pooler_output.shape, n.TFCvtModel(cvt)(pixels).cls_token_value.shape]
    maps = [b(pixels).feature_maps for b in (n.ConvNextBackbone(v1), n.ConvNextV2Backbone(v2))]
    maps.append(n.DINOv3ConvNextBackbone(dino)(pixels).feature_maps)
    classifiers = n.ConvNextForImageClassification(v1), n.ConvNextV2ForImageClassification(v2)
    logits = [classifier(pixels, labels=[1]).logits for classifier in classifiers]
    logits.append(n.CvtForImageClassification(cvt)(pixels).logits)
    for tf in (n.TFConvNextForImageClassification(v1), n.TFConvNextV2ForImageClassification(v2)):
        logits.append(tf(pixels, labels=[1]).loss)
    logits.append(n.TFCvtForImageClassification(cvt)(pixels, labels=[1]).loss)
    processors = n.ConvNextImageProcessor(), n.ConvNextFeatureExtractor(), n.ConvNextImageProcessorFast()
    more = n.ConvNextImageProcessorPil(), n.CvtImageProcessor(), n.DINOv3ViTImageProcessor()
    batch: n.BatchFeature = n.DINOv3ViTImageProcessorFast()([np.zeros((40, 50, 3), np.uint8)], return_tensors="np")
    base: n.PreTrainedModel = classifiers[0]
    base.save_pretrained(folder)
    processors[0].save_pretrained(folder)
    for auto in (n.AutoImageProcessor, n.AutoFeatureExtractor, n.AutoProcessor):
        more[0].size = auto.from_pretrained(folder).size
    loaded = n.AutoModelForImageClassification.from_pretrained(folder, dtype="float32")
    logits.append(loaded(pixels).logits)
    maps.append(n.AutoBackbone.from_pretrained(folder)(pixels).feature_maps)
    n.TFAutoModel.from_pretrained(folder)(pixels), n.TFAutoModelForImageClassification.from_pretrained(folder)(pixels)
    loss: float = n.value_and_grad(loaded)(pixels, labels=[1]).loss
    features: n.ImageFeatureExtractionPipeline = n.pipeline("image-feature-extraction", model=folder)
    pipe: n.ImageClassificationPipeline = n.pipeline("image-classification", model=loaded)
    best: str = pipe(np.zeros((40, 50, 3), np.uint8), top_k=1)[0]["label"]
    print(best, len(configs), n.AutoConfig.from_pretrained(folder).num_labels, len(maps), len(logits), len(shapes))
    print(loss, features.task, n.TensorType.NUMPY, batch["pixel_values"].shape, isinstance(tf, n.TFPreTrainedModel))
    try:
        n.AutoModel.from_pretrained("no-such-model")
    except n.ModelNotFoundError as error:
        kinds = n.ConfigError, n.GoldenError, n.ImageError, n.InputError, n.SafetensorsError, n.UnavailableError
        print(error, isinstance(error, (n.NpconvError, *kinds, n.WeightsError)), n.NpconvWarning, n.__version__)
