# found: https://huggingface.co/docs/transformers/main/en/backbones.md
# prints: [1, 16, 56, 56]
# warns
from datasets import load_dataset
from transformers import AutoBackbone, AutoImageProcessor

model = AutoBackbone.from_pretrained("facebook/convnext-tiny-224", out_indices=(1,))
processor = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
picture = load_dataset("huggingface/cats-image", split="test")["image"][0]

inputs = processor(picture, return_tensors="pt")
outputs = model(**inputs)
feature_maps = outputs.feature_maps
print(list(feature_maps[0].shape))
