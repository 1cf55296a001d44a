# found: documentation of transformers 4, CvT (in Japanese), TFCvtForImageClassification.call
# prints: Predicted class: tabby, tabby cat
import requests
import tensorflow as tf
from PIL import Image
from transformers import AutoImageProcessor, TFCvtForImageClassification

where = "http://images.cocodataset.org/val2017/000000039769.jpg"
sample = Image.open(requests.get(where, stream=True).raw)

preprocess = AutoImageProcessor.from_pretrained("microsoft/cvt-13")
cvt = TFCvtForImageClassification.from_pretrained("microsoft/cvt-13")

tensors = preprocess(images=sample, return_tensors="tf")
result = cvt(**tensors)
logits = result.logits
# One of the thousand classes of ImageNet.
index = tf.math.argmax(logits, axis=-1)[0]
print("Predicted class:", cvt.config.id2label[int(index)])
