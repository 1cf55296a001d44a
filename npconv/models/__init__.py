"""The three model families, each as functions of (x, parameters, config).

Read in this order: ``convnext``, ``convnextv2``, ``cvt``. Beside them stand the configurations
(``configuration``, ``staged_config``, ``cvt_config``) and the names, shapes and first values of parameters
(``parameters``).
"""

from npconv.models.configuration import PretrainedConfig
from npconv.models.convnext.model import ConvNextConfig
from npconv.models.convnextv2.model import ConvNextV2Config
from npconv.models.cvt.configuration import CvtConfig

__all__ = ["ConvNextConfig", "ConvNextV2Config", "CvtConfig", "PretrainedConfig"]
