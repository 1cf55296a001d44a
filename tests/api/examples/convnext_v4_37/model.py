# found: documentation of transformers 4.37, ConvNeXT (in Chinese), ConvNextModel.forward
# prints: [1, 768, 7, 7]
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, ConvNextModel

my_data = load_dataset("huggingface/cats-image")
picture = my_data["test"]["image"][0]

pre = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
my_model = ConvNextModel.from_pretrained("facebook/convnext-tiny-224")

x = pre(picture, return_tensors="pt")

with torch.no_grad():
    y = my_model(**x)

features = y.last_hidden_state
print(list(features.shape))
