# found: amirAHS2000/cv_course vision_transformers/image_classification_with_MobileViT.py
# prints: tabby, tabby cat
import requests
from PIL import Image
from transformers import AutoImageProcessor, CvtForImageClassification

address = "http://images.cocodataset.org/val2017/000000039769.jpg"
picture = Image.open(requests.get(address, stream=True).raw)

processor = AutoImageProcessor.from_pretrained("microsoft/cvt-13")
model = CvtForImageClassification.from_pretrained("microsoft/cvt-13")
inputs = processor(picture, return_tensors="pt")
logits = model(**inputs).logits

print(model.config.id2label[logits.argmax(-1).item()])
