# found: documentation of transformers 4, ConvNeXt V2 (in Japanese), ConvNeXTV2Config
# prints: ConvNextV2Config
from transformers import ConvNeXTV2Config, ConvNextV2Model

# The defaults describe the smallest published size.
settings = ConvNeXTV2Config()

# Parameters are drawn at random.
network = ConvNextV2Model(settings)

settings = network.config
print(type(settings).__name__)
