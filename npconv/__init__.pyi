"""What ``import npconv`` brings, for type checkers; made by ``python -m weights_tools.make_types``."""

from npconv import golden as golden
from npconv import gradients as gradients
from npconv import image_utils as image_utils
from npconv import layers as layers
from npconv import modeling_outputs as modeling_outputs
from npconv import pictures as pictures
from npconv import pipelines as pipelines
from npconv.api.auto import AutoBackbone as AutoBackbone
from npconv.api.auto import AutoConfig as AutoConfig
from npconv.api.auto import AutoFeatureExtractor as AutoFeatureExtractor
from npconv.api.auto import AutoImageProcessor as AutoImageProcessor
from npconv.api.auto import AutoModel as AutoModel
from npconv.api.auto import AutoModelForImageClassification as AutoModelForImageClassification
from npconv.api.auto import AutoProcessor as AutoProcessor
from npconv.api.auto import TFAutoModel as TFAutoModel
from npconv.api.auto import TFAutoModelForImageClassification as TFAutoModelForImageClassification
from npconv.api.backbone import Backbone as _Backbone
from npconv.api.base import PreTrainedModel as PreTrainedModel
from npconv.api.classification import ImageClassificationPipeline as ImageClassificationPipeline
from npconv.api.extraction import ImageFeatureExtractionPipeline as ImageFeatureExtractionPipeline
from npconv.api.gradients import value_and_grad as value_and_grad
from npconv.api.heads import BareModel as _BareModel
from npconv.api.heads import ImageClassifier as _ImageClassifier
from npconv.api.outputs import BaseModelOutputWithCLSToken as _BaseModelOutputWithCLSToken
from npconv.api.outputs import BaseModelOutputWithPoolingAndNoAttention as _BaseModelOutputWithPoolingAndNoAttention
from npconv.api.pipelines import pipeline as pipeline
from npconv.api.tensorflow import TFImageClassifier as _TFImageClassifier
from npconv.api.tensorflow import TFImageClassifierLabelsLast as _TFImageClassifierLabelsLast
from npconv.api.tensorflow import TFPreTrainedModel as TFPreTrainedModel
from npconv.errors import ConfigError as ConfigError
from npconv.errors import GoldenError as GoldenError
from npconv.errors import ImageError as ImageError
from npconv.errors import InputError as InputError
from npconv.errors import ModelNotFoundError as ModelNotFoundError
from npconv.errors import NpconvError as NpconvError
from npconv.errors import NpconvWarning as NpconvWarning
from npconv.errors import SafetensorsError as SafetensorsError
from npconv.errors import UnavailableError as UnavailableError
from npconv.errors import WeightsError as WeightsError
from npconv.images.batch import BatchFeature as BatchFeature
from npconv.images.processor import ConvNextImageProcessor as ConvNextImageProcessor
from npconv.models.configuration import PretrainedConfig as PretrainedConfig
from npconv.models.convnext.configuration import ConvNextConfig as ConvNextConfig
from npconv.models.convnextv2.configuration import ConvNextV2Config as ConvNextV2Config
from npconv.models.cvt.configuration import CvtConfig as CvtConfig
from npconv.models.dinov3_convnext.configuration import DINOv3ConvNextConfig as DINOv3ConvNextConfig
from npconv.models.dinov3_convnext.processor import DINOv3ViTImageProcessor as DINOv3ViTImageProcessor
from npconv.tensors import TensorType as TensorType

ConvNeXTV2Config = ConvNextV2Config
ConvNextFeatureExtractor = ConvNextImageProcessor
ConvNextImageProcessorFast = ConvNextImageProcessor
ConvNextImageProcessorPil = ConvNextImageProcessor
CvtImageProcessor = ConvNextImageProcessor
DINOv3ViTImageProcessorFast = DINOv3ViTImageProcessor
PACKAGES: tuple[str, ...]
PreTrainedConfig = PretrainedConfig
__all__: list[str]
__version__: str

class ConvNextModel(_BareModel[_BaseModelOutputWithPoolingAndNoAttention]):
    config: ConvNextConfig

class ConvNextForImageClassification(_ImageClassifier):
    config: ConvNextConfig

class ConvNextBackbone(_Backbone):
    config: ConvNextConfig

class ConvNextV2Model(_BareModel[_BaseModelOutputWithPoolingAndNoAttention]):
    config: ConvNextV2Config

class ConvNextV2ForImageClassification(_ImageClassifier):
    config: ConvNextV2Config

class ConvNextV2Backbone(_Backbone):
    config: ConvNextV2Config

class CvtModel(_BareModel[_BaseModelOutputWithCLSToken]):
    config: CvtConfig

class CvtForImageClassification(_ImageClassifier):
    config: CvtConfig

class DINOv3ConvNextModel(_BareModel[_BaseModelOutputWithPoolingAndNoAttention]):
    config: DINOv3ConvNextConfig

class DINOv3ConvNextBackbone(_Backbone):
    config: DINOv3ConvNextConfig

class TFConvNextModel(TFPreTrainedModel[_BaseModelOutputWithPoolingAndNoAttention]):
    config: ConvNextConfig

class TFConvNextForImageClassification(_TFImageClassifierLabelsLast):
    config: ConvNextConfig

class TFConvNextV2Model(TFPreTrainedModel[_BaseModelOutputWithPoolingAndNoAttention]):
    config: ConvNextV2Config

class TFConvNextV2ForImageClassification(_TFImageClassifierLabelsLast):
    config: ConvNextV2Config

class TFCvtModel(TFPreTrainedModel[_BaseModelOutputWithCLSToken]):
    config: CvtConfig

class TFCvtForImageClassification(_TFImageClassifier):
    config: CvtConfig
