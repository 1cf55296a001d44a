# found: documentation of transformers 5.6, ConvNeXt V2 (in Japanese), ConvNextV2ForImageClassification.forward
# prints: tabby, tabby cat
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, ConvNextV2ForImageClassification

pictures = load_dataset("huggingface/cats-image")
first = pictures["test"]["image"][0]

to_pixels = AutoImageProcessor.from_pretrained("facebook/convnextv2-tiny-1k-224")
classifier = ConvNextV2ForImageClassification.from_pretrained("facebook/convnextv2-tiny-1k-224")

pixels = to_pixels(first, return_tensors="pt")

with torch.no_grad():
    logits = classifier(**pixels).logits

# One of the thousand classes of ImageNet.
class_number = logits.argmax(-1).item()
print(classifier.config.id2label[class_number])
