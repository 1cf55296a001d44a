# found: szejiancheng/Tech4City2024 backend/model.py
# prints: tabby, tabby cat
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

processor = AutoImageProcessor.from_pretrained("facebook/convnextv2-tiny-1k-224")
model = AutoModelForImageClassification.from_pretrained("facebook/convnextv2-tiny-1k-224")


def infer(picture):
    inputs = processor(picture, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    values, indices = torch.topk(logits, 5)
    return [
        {"label": model.config.id2label[index.item()], "score": value.item()}
        for value, index in zip(values[0], indices[0], strict=True)
    ]


print(infer(Image.open("cat.jpg"))[0]["label"])
