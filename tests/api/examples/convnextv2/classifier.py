# found: documentation of transformers 4, ConvNeXt V2 (in Japanese), ConvNextV2ForImageClassification.forward
# prints: tabby, tabby cat
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, ConvNextV2ForImageClassification

cats = load_dataset("huggingface/cats-image", trust_remote_code=True)
photo = cats["test"]["image"][0]

prepare = AutoImageProcessor.from_pretrained("facebook/convnextv2-tiny-1k-224")
network = ConvNextV2ForImageClassification.from_pretrained("facebook/convnextv2-tiny-1k-224")

batch = prepare(photo, return_tensors="pt")

with torch.no_grad():
    scores = network(**batch).logits

# One of the thousand classes of ImageNet.
best = scores.argmax(-1).item()
print(network.config.id2label[best])
