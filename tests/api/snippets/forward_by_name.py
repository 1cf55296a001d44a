# found: code search, a file without a name that defines ConvNeXtV2(Model) with forward(**kwargs)
# prints: (1, 1000)
import torch
from transformers import ConvNextV2ForImageClassification


class Wrapped:
    def __init__(self, name="facebook/convnextv2-huge-22k-384", classes=1000):
        self.model = ConvNextV2ForImageClassification.from_pretrained(name, num_labels=classes)

    def forward(self, **kwargs):
        return self.model.forward(**kwargs)


print(tuple(Wrapped().forward(pixel_values=torch.rand(1, 3, 224, 224), labels=torch.tensor([281])).logits.shape))
