# found: documentation of transformers 4.47, ConvNeXT, ConvNextConfig
# prints: ConvNextConfig
from transformers import ConvNextConfig, ConvNextModel

# The defaults describe the smallest published size.
config = ConvNextConfig()

# Parameters are drawn at random.
convnext = ConvNextModel(config)

config = convnext.config
print(type(config).__name__)
