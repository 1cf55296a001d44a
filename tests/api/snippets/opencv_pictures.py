# found: VicGrygorchyk/Siamese_person_clafifier classify_photo_w_human.py
# prints: label tabby, tabby cat
from glob import glob

import cv2
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

paths = glob("photos/*")
processor = AutoImageProcessor.from_pretrained("microsoft/cvt-13", local_files_only=False)
model = AutoModelForImageClassification.from_pretrained("microsoft/cvt-13", local_files_only=True)

with torch.no_grad():
    for path in paths:
        picture = cv2.imread(path)
        inputs = processor(picture, return_tensors="pt")
        logits = model(**inputs).logits
        best = logits.argmax(-1).item()
        print(f"logits {logits}")
        print(f"label {model.config.id2label[best]}\n")
