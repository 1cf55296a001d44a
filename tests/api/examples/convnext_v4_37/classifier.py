# found: documentation of transformers 4.37, ConvNeXT (in Chinese), ConvNextForImageClassification.forward
# prints: tabby, tabby cat
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, ConvNextForImageClassification

my_data = load_dataset("huggingface/cats-image")
picture = my_data["test"]["image"][0]

pre = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
my_model = ConvNextForImageClassification.from_pretrained("facebook/convnext-tiny-224")

x = pre(picture, return_tensors="pt")

with torch.no_grad():
    y = my_model(**x).logits

# One of the thousand classes of ImageNet.
top = y.argmax(-1).item()
print(my_model.config.id2label[top])
