# found: code search, a file without a name that defines FacebookConvNet(BaseHandler)
# prints: tabby, tabby cat
import torch
from PIL import Image
from transformers import ConvNextForImageClassification, ConvNextImageProcessor

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
processor = ConvNextImageProcessor.from_pretrained("facebook/convnext-large-224-22k-1k")
model = ConvNextForImageClassification.from_pretrained("facebook/convnext-large-224-22k-1k").to(device)

inputs = processor(Image.open("cat.jpg").convert("RGB"), return_tensors="pt")
with torch.no_grad():
    inputs = {key: value.to(device) for key, value in inputs.items()}
    logits = model(**inputs).logits
print(model.config.id2label[logits.argmax(-1).item()])
