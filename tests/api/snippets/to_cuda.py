# found: g1y5x3/bitlinear158-vision-transformers tests/test_vit.py
# device: cuda
# prints: tabby, tabby cat
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, ConvNextForImageClassification

picture = load_dataset("huggingface/cats-image")["test"]["image"][0]
processor = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
model = ConvNextForImageClassification.from_pretrained("facebook/convnext-tiny-224")
model.to("cuda")
print(model)

inputs = processor(picture, return_tensors="pt").to("cuda")
with torch.no_grad():
    logits = model(**inputs).logits

print(model.config.id2label[logits.argmax(-1).item()])
