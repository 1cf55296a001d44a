# found: https://huggingface.co/facebook/convnext-base-384-22k-1k/commit/a046eb0288b19b9554372439aef3a6792ca354e3
# prints: tabby, tabby cat
import torch
from datasets import load_dataset
from transformers import ConvNextForImageClassification, ConvNextImageProcessor

cats = load_dataset("huggingface/cats-image")
picture = cats["test"]["image"][0]

processor = ConvNextImageProcessor.from_pretrained("facebook/convnext-base-384-22k-1k")
model = ConvNextForImageClassification.from_pretrained("facebook/convnext-base-384-22k-1k")
inputs = processor(picture, return_tensors="pt")

with torch.no_grad():
    scores = model(**inputs).logits

best = scores.argmax(-1).item()
(print(model.config.id2label[best]),)
