# found: documentation of transformers 4, ConvNeXt V2 (in Japanese), ConvNextV2Model.forward
# prints: [1, 768, 7, 7]
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, ConvNextV2Model

cats = load_dataset("huggingface/cats-image", trust_remote_code=True)
photo = cats["test"]["image"][0]

prepare = AutoImageProcessor.from_pretrained("facebook/convnextv2-tiny-1k-224")
network = ConvNextV2Model.from_pretrained("facebook/convnextv2-tiny-1k-224")

batch = prepare(photo, return_tensors="pt")

with torch.no_grad():
    answer = network(**batch)

maps = answer.last_hidden_state
print(list(maps.shape))
