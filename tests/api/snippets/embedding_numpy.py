# found: xndc44/ProductLens app/vision/dino.py
# prints: (768, 7)
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

processor = AutoImageProcessor.from_pretrained("facebook/convnextv2-tiny-22k-224")
model = AutoModel.from_pretrained("facebook/convnextv2-tiny-22k-224")
model.eval()


def embed(picture):
    inputs = processor(images=picture, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    return outputs.last_hidden_state.mean(dim=-1).squeeze().numpy()


print(embed(Image.open("cat.jpg")).shape)
