# found: ss8319/dinov3 inference.py, and the documentation of DINOv3 in transformers 5
# prints: Pooled output shape: (1, 768)
import torch
from transformers import AutoImageProcessor, AutoModel
from transformers.image_utils import load_image

address = "http://images.cocodataset.org/val2017/000000039769.jpg"
picture = load_image(address)

processor = AutoImageProcessor.from_pretrained("facebook/dinov3-convnext-tiny-pretrain-lvd1689m")
model = AutoModel.from_pretrained(
    "facebook/dinov3-convnext-tiny-pretrain-lvd1689m",
    dtype=torch.float16,
    device_map="auto",
    attn_implementation="sdpa",
)

inputs = processor(images=picture, return_tensors="pt").to(model.device)
with torch.inference_mode():
    outputs = model(**inputs)

print("Pooled output shape:", outputs.pooler_output.shape)
