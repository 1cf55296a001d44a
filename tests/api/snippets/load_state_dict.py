# found: https://github.com/huggingface/transformers/pull/21679
# prints: (1, 1000)
import requests
from PIL import Image
from transformers import AutoImageProcessor, ConvNextV2Config, ConvNextV2ForImageClassification

weights = ConvNextV2ForImageClassification.from_pretrained("facebook/convnextv2-tiny-1k-224").state_dict()
config = ConvNextV2Config.from_pretrained("facebook/convnextv2-tiny-1k-224")

model = ConvNextV2ForImageClassification(config)
model.load_state_dict(weights)
model.eval()

picture = Image.open(requests.get("http://images.cocodataset.org/val2017/000000039769.jpg", stream=True).raw)
processor = AutoImageProcessor.from_pretrained("facebook/convnextv2-tiny-1k-224")
inputs = processor(images=picture, return_tensors="pt")
logits = model(**inputs).logits
print(logits.shape)
