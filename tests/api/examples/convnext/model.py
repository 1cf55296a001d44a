# found: documentation of transformers 4.47, ConvNeXT, ConvNextModel.forward
# prints: [1, 768, 7, 7]
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, ConvNextModel

data = load_dataset("huggingface/cats-image", trust_remote_code=True)
cat = data["test"]["image"][0]

processor = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
convnext = ConvNextModel.from_pretrained("facebook/convnext-tiny-224")

inputs = processor(cat, return_tensors="pt")

with torch.no_grad():
    output = convnext(**inputs)

last = output.last_hidden_state
print(list(last.shape))
