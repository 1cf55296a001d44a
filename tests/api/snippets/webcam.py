# found: jenni4j/Realtime-Emotion-Recognition webcam.py, Meghameghu/Meghana-shivanna huggingface_camera.py
# prints: Predicted class: tabby, tabby cat
import cv2
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

name = "facebook/convnextv2-atto-1k-224"
processor = AutoImageProcessor.from_pretrained(name)
model = AutoModelForImageClassification.from_pretrained(name)

for frame in [cv2.imread("cat.jpg")] * 2:
    rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    picture = Image.fromarray(rgb)
    outputs = model(**processor(images=picture, return_tensors="pt"))
    best = outputs.logits.argmax(-1).item()
    print("Predicted class:", model.config.id2label[best])
