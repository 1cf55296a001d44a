# found: whaler404/Hf-Learn transfomers_learn/inference/pipeline_api/image_pipeline.py
# prints: tabby, tabby cat
from transformers import pipeline

classifier = pipeline(model="facebook/convnext-base-224")
found = classifier(images="./photos/first.jpg")
found = [{"score": round(entry["score"], 4), "label": entry["label"]} for entry in found]

print(found[0]["label"])
