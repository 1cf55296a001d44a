# found: masapasa/notebooks transformers_doc/image_classifier.py
# prints: tabby, tabby cat
import torch
from datasets import load_dataset
from transformers import AutoFeatureExtractor, AutoModelForImageClassification

picture = load_dataset("huggingface/cats-image")["test"]["image"][0]
picture.show()

extractor = AutoFeatureExtractor.from_pretrained("microsoft/cvt-21")
model = AutoModelForImageClassification.from_pretrained("microsoft/cvt-21")
inputs = extractor(picture, return_tensors="pt")

with torch.no_grad():
    scores = model(**inputs).logits

best = scores.argmax(-1).item()
print(model.config.id2label[best])
