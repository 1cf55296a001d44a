# found: JimmyYourHonor/FeatureDetectionAndDescription models/nets/convnextv2.py
# prints: (2, 768, 7, 7)
# warns
import torch
from transformers import ConvNextV2Backbone


class Extractor:
    def __init__(self, scale="tiny"):
        if scale == "nano":
            self.backbone = ConvNextV2Backbone.from_pretrained("facebook/convnextv2-nano-22k-224")
        else:
            self.backbone = ConvNextV2Backbone.from_pretrained("facebook/convnextv2-tiny-22k-224")

    def forward_one(self, pictures):
        output = self.backbone(pictures)
        return output.feature_maps[-1]


print(Extractor().forward_one(torch.randn(2, 3, 224, 224)).shape)
