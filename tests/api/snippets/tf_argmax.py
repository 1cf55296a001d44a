# found: https://github.com/huggingface/transformers/pull/17261
# prints: Predicted class: tabby, tabby cat
import requests
import tensorflow as tf
from PIL import Image
from transformers import ConvNextFeatureExtractor, TFConvNextForImageClassification

picture = Image.open(requests.get("http://images.cocodataset.org/val2017/000000039769.jpg", stream=True).raw)
extractor = ConvNextFeatureExtractor.from_pretrained("facebook/convnext-tiny-224")
model = TFConvNextForImageClassification.from_pretrained("facebook/convnext-tiny-224")

inputs = extractor(images=picture, return_tensors="tf")
outputs = model(**inputs)
best = tf.math.argmax(outputs.logits, axis=-1)[0]
print("Predicted class:", model.config.id2label[int(best)])
