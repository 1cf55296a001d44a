# found: InesGarcia84/PictsManager resnet-50-cifar100-custom/test-model.py
# prints: photos/first.jpg => tabby, tabby cat
# prints: photos/second.jpg => tabby, tabby cat
import os

from PIL import Image
from transformers import AutoImageProcessor, ConvNextForImageClassification

processor = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
model = ConvNextForImageClassification.from_pretrained("facebook/convnext-tiny-224")

names = os.listdir("photos")
if ".DS_Store" in names:
    names.remove(".DS_Store")

for path in sorted("{}/{}".format("photos", name) for name in names):
    picture = Image.open(path).convert("RGB")
    picture = picture.resize((32, 32))
    inputs = processor(picture, return_tensors="pt")
    logits = model(**inputs).logits
    print(f"{path} => {model.config.id2label[logits.argmax(-1).item()]}")
