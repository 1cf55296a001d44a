# found: code search, a file without a name that loads ./fine_tuned_model
# prints: tabby, tabby cat
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

name = "facebook/convnextv2-tiny-1k-224"
picture = Image.open("cat.jpg").convert("RGB")
processor = AutoImageProcessor.from_pretrained(name)
model = AutoModelForImageClassification.from_pretrained(name)

with torch.no_grad():
    logits = model(**processor(picture, return_tensors="pt")).logits

probabilities = F.softmax(logits, dim=-1)
best = int(probabilities.argmax(-1))
print(model.config.id2label[best])
