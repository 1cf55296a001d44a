# found: code search, a file without a name that defines ConvNeXtV2Backbone(nn.Module)
# prints: (2, 768)
import torch
from transformers import ConvNextV2ForImageClassification

features = ConvNextV2ForImageClassification.from_pretrained("facebook/convnextv2-base-1k-224").convnextv2


def forward(pictures):
    x = features(pictures)
    return x.last_hidden_state.mean(dim=(2, 3))


print(tuple(forward(torch.rand(2, 3, 224, 224)).shape))
