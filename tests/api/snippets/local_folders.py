# found: manuel-fidalgo-fierro/resnet-50 run_model_single.py, InesGarcia84/PictsManager (the saving)
# prints: tabby, tabby cat
import torch
from PIL import Image
from transformers import AutoImageProcessor, ConvNextForImageClassification

AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224").save_pretrained("./processor")
ConvNextForImageClassification.from_pretrained("facebook/convnext-tiny-224").save_pretrained("./model")

processor = AutoImageProcessor.from_pretrained("./processor")
model = ConvNextForImageClassification.from_pretrained("./model")

inputs = processor(Image.open("cat.png"), return_tensors="pt")
with torch.no_grad():
    scores = model(**inputs).logits
print(model.config.id2label[scores.argmax(-1).item()])
