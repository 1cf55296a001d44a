# found: voxmenthe/prompts SPECIALIZED_CONTEXT_AND_DOCS/TRANSFORMERS_DOCS_SITE_MIRROR/markdown/en/model_doc/cvt.md
# prints: The predicted class label is: tabby, tabby cat
import requests
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

processor = AutoImageProcessor.from_pretrained("microsoft/cvt-13")
model = AutoModelForImageClassification.from_pretrained("microsoft/cvt-13", dtype=torch.float16, device_map="auto")

address = "https://huggingface.co/datasets/huggingface/documentation-images/resolve/main/pipeline-cat-chonk.jpeg"
picture = Image.open(requests.get(address, stream=True).raw)
inputs = processor(picture, return_tensors="pt").to(model.device)

with torch.no_grad():
    logits = model(**inputs).logits
class_id = logits.argmax(dim=-1).item()

class_labels = model.config.id2label
print(f"The predicted class label is: {class_labels[class_id]}")
