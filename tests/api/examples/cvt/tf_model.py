# found: documentation of transformers 4, CvT (in Japanese), TFCvtModel.call
# prints: [1, 384, 14, 14]
import requests
from PIL import Image
from transformers import AutoImageProcessor, TFCvtModel

where = "http://images.cocodataset.org/val2017/000000039769.jpg"
sample = Image.open(requests.get(where, stream=True).raw)

preprocess = AutoImageProcessor.from_pretrained("microsoft/cvt-13")
cvt = TFCvtModel.from_pretrained("microsoft/cvt-13")

tensors = preprocess(images=sample, return_tensors="tf")
result = cvt(**tensors)
tokens = result.last_hidden_state
print(list(tokens.shape))
