# found: documentation of transformers 4, CvT (in Japanese), CvtConfig
# prints: CvtConfig
from transformers import CvtConfig, CvtModel

# The defaults describe the smallest published size.
cvt_config = CvtConfig()

# Parameters are drawn at random.
cvt = CvtModel(cvt_config)

cvt_config = cvt.config
print(type(cvt_config).__name__)
