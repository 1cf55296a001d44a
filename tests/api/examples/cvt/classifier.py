# found: documentation of transformers 4, CvT (in Japanese), CvtForImageClassification.forward
# prints: tabby, tabby cat
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, CvtForImageClassification

images = load_dataset("huggingface/cats-image", trust_remote_code=True)
sample = images["test"]["image"][0]

preprocess = AutoImageProcessor.from_pretrained("microsoft/cvt-13")
cvt = CvtForImageClassification.from_pretrained("microsoft/cvt-13")

tensors = preprocess(sample, return_tensors="pt")

with torch.no_grad():
    logits = cvt(**tensors).logits

# One of the thousand classes of ImageNet.
index = logits.argmax(-1).item()
print(cvt.config.id2label[index])
