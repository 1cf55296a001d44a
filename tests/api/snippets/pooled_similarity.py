# found: huggingface/transformers docs/source/en/tasks/image_feature_extraction.md
# prints: 768
import requests
import torch
from PIL import Image
from torch.nn.functional import cosine_similarity
from transformers import pipeline

addresses = ["https://huggingface.co/datasets/a/resolve/main/cats.png", "https://huggingface.co/datasets/a/cats.jpeg"]
real, made = (Image.open(requests.get(address, stream=True).raw).convert("RGB") for address in addresses)

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pipe = pipeline(task="image-feature-extraction", model="facebook/convnextv2-base-22k-224", device=device, pool=True)
outputs = pipe([real, made])
print(len(outputs[0][0]))

score = cosine_similarity(torch.Tensor(outputs[0]), torch.Tensor(outputs[1]), dim=1)
print(score)
