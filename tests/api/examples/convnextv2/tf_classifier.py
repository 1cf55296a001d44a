# found: documentation of transformers 4, ConvNeXt V2 (in Japanese), TFConvNextV2ForImageClassification.call
# prints: tabby, tabby cat
import tensorflow as tf
from datasets import load_dataset
from transformers import AutoImageProcessor, TFConvNextV2ForImageClassification

cats = load_dataset("huggingface/cats-image", trust_remote_code=True)
photo = cats["test"]["image"][0]

prepare = AutoImageProcessor.from_pretrained("facebook/convnextv2-tiny-1k-224")
network = TFConvNextV2ForImageClassification.from_pretrained("facebook/convnextv2-tiny-1k-224")

batch = prepare(photo, return_tensors="tf")
scores = network(**batch).logits

# One of the thousand classes of ImageNet.
best = int(tf.math.argmax(scores, axis=-1))
print(network.config.id2label[best])
