# found: cangfengzhs/merak example/cv/data.py
# prints: (1, 768)
import torch
from datasets import load_dataset
from transformers import ConvNextFeatureExtractor, ConvNextModel

picture = load_dataset("huggingface/cats-image")["test"]["image"][0]
extractor = ConvNextFeatureExtractor.from_pretrained("facebook/convnext-tiny-224")
model = ConvNextModel.from_pretrained("facebook/convnext-tiny-224")

with torch.no_grad():
    features = model(**extractor(picture, return_tensors="pt"))

pooled = features.pooler_output
print(pooled.shape)
