# found: documentation of transformers 4.47, ConvNeXT, TFConvNextModel.call
# prints: [1, 768, 7, 7]
import requests
from PIL import Image
from transformers import AutoImageProcessor, TFConvNextModel

address = "http://images.cocodataset.org/val2017/000000039769.jpg"
cat = Image.open(requests.get(address, stream=True).raw)

processor = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
convnext = TFConvNextModel.from_pretrained("facebook/convnext-tiny-224")

inputs = processor(images=cat, return_tensors="tf")
output = convnext(**inputs)
last = output.last_hidden_state
print(list(last.shape))
