# found: documentation of transformers 5.6, ConvNeXt V2 (in Japanese), ConvNeXTV2Config
# prints: ConvNextV2Config
from transformers import ConvNeXTV2Config, ConvNextV2Model

# The defaults describe the smallest published size.
shape_of_it = ConvNeXTV2Config()

# Parameters are drawn at random.
untrained = ConvNextV2Model(shape_of_it)

shape_of_it = untrained.config
print(type(shape_of_it).__name__)
