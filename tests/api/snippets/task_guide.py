# found: huggingface/transformers docs/source/en/tasks/image_classification.md
# prints: tabby, tabby cat
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

rows = load_dataset("food101", split="validation[:10]")
picture = rows["image"][0]

classifier = pipeline("image-classification", model="facebook/convnextv2-tiny-1k-224")
classifier(picture)

processor = AutoImageProcessor.from_pretrained("facebook/convnextv2-tiny-1k-224")
inputs = processor(picture, return_tensors="pt")
model = AutoModelForImageClassification.from_pretrained("facebook/convnextv2-tiny-1k-224")
with torch.no_grad():
    logits = model(**inputs).logits

best = logits.argmax(-1).item()
print(model.config.id2label[best])
