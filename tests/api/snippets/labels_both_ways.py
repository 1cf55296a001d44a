# found: code search, files without a name that define sc4000.eval.models ConvNeXtV2
# prints: True
# warns
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

names = ["healthy", "rust", "scab"]
device = "cuda" if torch.cuda.is_available() else "cpu"
processor = AutoImageProcessor.from_pretrained("facebook/convnextv2-base-22k-224")
model = AutoModelForImageClassification.from_pretrained(
    "facebook/convnextv2-base-22k-224",
    id2label=dict(enumerate(names)),
    label2id={name: number for number, name in enumerate(names)},
    ignore_mismatched_sizes=True,
).to(device)


def predict(picture):
    inputs = processor(images=picture, return_tensors="pt").to(device)
    with torch.no_grad():
        logits = model(**inputs).logits
    return model.config.id2label[logits.argmax(-1).item()]


print(predict(Image.open("cat.png")) in names)
