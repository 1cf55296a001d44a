# found: documentation of transformers 4, CvT (in Japanese), CvtModel.forward
# prints: [1, 384, 14, 14]
import torch
from datasets import load_dataset
from transformers import AutoImageProcessor, CvtModel

images = load_dataset("huggingface/cats-image", trust_remote_code=True)
sample = images["test"]["image"][0]

preprocess = AutoImageProcessor.from_pretrained("microsoft/cvt-13")
cvt = CvtModel.from_pretrained("microsoft/cvt-13")

tensors = preprocess(sample, return_tensors="pt")

with torch.no_grad():
    result = cvt(**tensors)

tokens = result.last_hidden_state
print(list(tokens.shape))
