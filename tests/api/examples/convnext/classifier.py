# found: documentation of transformers 4.47, ConvNeXT, ConvNextForImageClassification.forward
# prints: tabby, tabby cat
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, ConvNextForImageClassification

data = load_dataset("huggingface/cats-image", trust_remote_code=True)
cat = data["test"]["image"][0]

processor = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
convnext = ConvNextForImageClassification.from_pretrained("facebook/convnext-tiny-224")

inputs = processor(cat, return_tensors="pt")

with torch.no_grad():
    logits = convnext(**inputs).logits

# One of the thousand classes of ImageNet.
label = logits.argmax(-1).item()
print(convnext.config.id2label[label])
