# found: Motoki0705/tracknet demo/convnext_demo.py
# prints: Pooled output shape: (1, 768)
# prints: hidden_states[4] shape: (1, 768, 7, 7)
import torch
from transformers import AutoImageProcessor, AutoModel
from transformers.image_utils import load_image

picture = load_image("http://images.cocodataset.org/val2017/000000039769.jpg")
print("Size of the picture:", picture.size)

name = "facebook/dinov3-convnext-base-pretrain-lvd1689m"
processor = AutoImageProcessor.from_pretrained(name)
model = AutoModel.from_pretrained(name, device_map="auto")

inputs = processor(images=picture, return_tensors="pt").to(model.device)
with torch.inference_mode():
    outputs = model(**inputs, output_hidden_states=True, return_dict=True)

print("Output keys:", outputs.keys())
print("Pooled output shape:", outputs.pooler_output.shape)
print("Last hidden state shape:", outputs.last_hidden_state.shape)
for number, maps in enumerate(outputs.hidden_states):
    print(f"hidden_states[{number}] shape: {maps.shape}")
