# found: documentation of transformers 4.37, ConvNeXT (in Chinese), TFConvNextForImageClassification.call
# prints: Predicted class: tabby, tabby cat
import requests
import tensorflow as tf
from PIL import Image
from transformers import AutoImageProcessor, TFConvNextForImageClassification

link = "http://images.cocodataset.org/val2017/000000039769.jpg"
picture = Image.open(requests.get(link, stream=True).raw)

pre = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
my_model = TFConvNextForImageClassification.from_pretrained("facebook/convnext-tiny-224")

x = pre(images=picture, return_tensors="tf")
y = my_model(**x)
z = y.logits
# One of the thousand classes of ImageNet.
top = tf.math.argmax(z, axis=-1)[0]
print("Predicted class:", my_model.config.id2label[int(top)])
