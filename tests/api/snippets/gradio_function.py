# found: YuukioFuyu/BEiT-Classification gradio.py
import gradio as gr
from transformers import pipeline

classify = pipeline("image-classification", "facebook/convnextv2-atto-1k-224")


def detect(picture):
    answer = classify(picture, top_k=2)
    scores = {}
    for entry in answer:
        scores[entry["label"]] = entry["score"]
    return scores


demo = gr.Interface(fn=detect, inputs=gr.Image(type="pil"), outputs=gr.Label(label="result"))
demo.launch()
