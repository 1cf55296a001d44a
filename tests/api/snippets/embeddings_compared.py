# found: huggingface/transformers docs/source/en/tasks/image_feature_extraction.md
# prints: 1.0
import torch
from PIL import Image
from torch.nn.functional import cosine_similarity
from transformers import AutoImageProcessor, AutoModel

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
processor = AutoImageProcessor.from_pretrained("facebook/convnextv2-base-22k-224")
model = AutoModel.from_pretrained("facebook/convnextv2-base-22k-224").to(device)


def infer(picture):
    inputs = processor(picture, return_tensors="pt").to(device)
    return model(**inputs).pooler_output


a, b = infer(Image.open("cat.png")), infer(Image.open("cat.png"))
score = cosine_similarity(a, b, dim=1)
print(round(float(score[0]), 5))
