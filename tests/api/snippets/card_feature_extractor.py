# found: groq/mlagility models/popular_on_huggingface/facebook_convnext-small-224.py
# prints: tabby, tabby cat
import torch
from datasets import load_dataset
from transformers import ConvNextFeatureExtractor, ConvNextForImageClassification

cats = load_dataset("huggingface/cats-image")
picture = cats["test"]["image"][0]

extractor = ConvNextFeatureExtractor.from_pretrained("facebook/convnext-small-224")
model = ConvNextForImageClassification.from_pretrained("facebook/convnext-small-224")
inputs = extractor(picture, return_tensors="pt")

with torch.no_grad():
    scores = model(**inputs).logits

print(model.config.id2label[scores.argmax(-1).item()])
