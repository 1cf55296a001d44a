# found: TEJAS-creator/projects image_finder.py
# prints: Predicted class: **tabby, tabby cat**
from functools import cache

from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification


@cache
def load_model():
    processor = AutoImageProcessor.from_pretrained("facebook/convnextv2-tiny-1k-224")
    model = AutoModelForImageClassification.from_pretrained("facebook/convnextv2-tiny-1k-224")
    return processor, model


processor, model = load_model()
with open("cat.png", "rb") as uploaded:
    picture = Image.open(uploaded)
    inputs = processor(images=picture, return_tensors="pt")
outputs = model(**inputs)
logits = outputs.logits
best = logits.argmax(-1).item()
print(f"Predicted class: **{model.config.id2label[best]}**")
