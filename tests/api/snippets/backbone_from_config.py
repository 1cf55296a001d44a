# found: https://huggingface.co/docs/transformers/v4.37.1/main_classes/backbones
# prints: ['stage1', 'stage3']
from transformers import ConvNextBackbone, ConvNextConfig

config = ConvNextConfig(out_indices=(1, 3))
model = ConvNextBackbone(config)
print(model.out_features)
