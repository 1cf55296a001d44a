# found: documentation of transformers 4.37, ConvNeXT (in Chinese), ConvNextConfig
# prints: ConvNextConfig
from transformers import ConvNextConfig, ConvNextModel

# The defaults describe the smallest published size.
my_config = ConvNextConfig()

# Parameters are drawn at random.
my_model = ConvNextModel(my_config)

my_config = my_model.config
print(type(my_config).__name__)
