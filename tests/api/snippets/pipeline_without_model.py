# found: rubences/Gradio ejemplo2.py
from transformers import pipeline

pipe = pipeline("image-classification")
pipe("cat.jpg")
