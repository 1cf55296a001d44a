# found: documentation of transformers 4.37, ConvNeXT (in Chinese), TFConvNextModel.call
# prints: [1, 768, 7, 7]
import requests
from PIL import Image
from transformers import AutoImageProcessor, TFConvNextModel

link = "http://images.cocodataset.org/val2017/000000039769.jpg"
picture = Image.open(requests.get(link, stream=True).raw)

pre = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
my_model = TFConvNextModel.from_pretrained("facebook/convnext-tiny-224")

x = pre(images=picture, return_tensors="tf")
y = my_model(**x)
features = y.last_hidden_state
print(list(features.shape))
