# found: https://github.com/huggingface/transformers/pull/18597
# prints: (1, 1, 384)
from PIL import Image
from transformers import AutoFeatureExtractor, TFCvtModel

extractor = AutoFeatureExtractor.from_pretrained("microsoft/cvt-13")
model = TFCvtModel.from_pretrained("microsoft/cvt-13")
inputs = extractor(images=Image.open("cat.jpg"), return_tensors="tf")
outputs = model(inputs, training=False)
print(outputs.cls_token_value.shape)
