# found: code search, a file without a name that saves dima806/facial_emotions_image_detection
# prints: tabby, tabby cat
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

name = "facebook/convnext-tiny-224"
image_processor = AutoImageProcessor.from_pretrained(name, use_fast=False)
model = AutoModelForImageClassification.from_pretrained(name)

pipe = pipeline("image-classification", model=model, image_processor=image_processor)
print(pipe("https://huggingface.co/datasets/huggingface/documentation-images/resolve/main/parrots.png")[0]["label"])
