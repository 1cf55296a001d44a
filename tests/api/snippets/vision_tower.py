# found: code search, a file without a name that defines Convnextv2VisionTower
# prints: (1, 196, 32)
import torch
from transformers import AutoImageProcessor, ConvNextV2Model


class Tower:
    def __init__(self, name, delay_load=False):
        self.select_layer = -2
        self.config = ConvNextV2Model.from_pretrained(name).config
        if not delay_load:
            self.processor = AutoImageProcessor.from_pretrained(name)
            self.tower = ConvNextV2Model.from_pretrained(name)

    @torch.no_grad()
    def forward(self, pictures):
        maps = self.tower(pictures, output_hidden_states=True).hidden_states[self.select_layer]
        return maps.flatten(2).transpose(1, 2)


print(tuple(Tower("facebook/convnextv2-large-1k-224").forward(torch.rand(1, 3, 224, 224)).shape))
