# found: MrBinit/Swimv2Classifier a.py, L-asik/S3-serverless-deployment pretrained_download.py
# prints: ['config.json', 'model.safetensors', 'preprocessor_config.json']
import os

from transformers import AutoImageProcessor, AutoModelForImageClassification

processor = AutoImageProcessor.from_pretrained("facebook/convnextv2-tiny-1k-224", use_fast=True)
model = AutoModelForImageClassification.from_pretrained("facebook/convnextv2-tiny-1k-224")

processor.save_pretrained("resources/model")
model.save_pretrained("resources/model")
print(sorted(os.listdir("resources/model")))
