# found: huggingface/transformers src/transformers/models/convnext/test.py
# prints: (1, 96, 56, 56)
# prints: (1, 768, 7, 7)
import torch
from transformers import ConvNextBackbone, ConvNextConfig

backbone = ConvNextBackbone(ConvNextConfig(out_features=["stage1", "stage2", "stage3", "stage4"]))

pixels = torch.randn(1, 3, 224, 224)
outputs = backbone(pixels)

for feature_map in outputs.feature_maps:
    print(feature_map.shape)
