# found: https://hugging-face.cn/docs/transformers/model_doc/cvt
# device: cuda
import torch
from transformers import pipeline

classifier = pipeline(task="image-classification", model="microsoft/cvt-13", torch_dtype=torch.float16, device=0)
classifier(images="https://hugging-face.cn/datasets/huggingface/documentation-images/resolve/main/pipeline-cat.jpeg")
