# found: documentation of transformers 4.47, ConvNeXT, TFConvNextForImageClassification.call
# prints: Predicted class: tabby, tabby cat
import requests
import tensorflow as tf
from PIL import Image
from transformers import AutoImageProcessor, TFConvNextForImageClassification

address = "http://images.cocodataset.org/val2017/000000039769.jpg"
cat = Image.open(requests.get(address, stream=True).raw)

processor = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
convnext = TFConvNextForImageClassification.from_pretrained("facebook/convnext-tiny-224")

inputs = processor(images=cat, return_tensors="tf")
output = convnext(**inputs)
logits = output.logits
# One of the thousand classes of ImageNet.
label = tf.math.argmax(logits, axis=-1)[0]
print("Predicted class:", convnext.config.id2label[int(label)])
