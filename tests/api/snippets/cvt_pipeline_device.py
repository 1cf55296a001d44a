# found: https://cdn-avatars.qwak.ai/docs/transformers/v5.8.0/model_doc/cvt.md
# device: cuda
from transformers import pipeline

pipeline = pipeline(
    task="image-classification",
    model="microsoft/cvt-13",
    device=0,
)
pipeline("https://huggingface.co/datasets/huggingface/documentation-images/resolve/main/pipeline-cat-chonk.jpeg")
