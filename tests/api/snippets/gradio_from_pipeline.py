# found: mrspiggot/Lucidate-FineTune gradio_example.py
# row: gr.Interface.from_pipeline(pipe)
import gradio as gr
from transformers import pipeline

pipe = pipeline("image-classification", model="facebook/convnext-tiny-224")

demo = gr.Interface.from_pipeline(pipe)
# here: classify = lambda image: {answer["label"]: answer["score"] for answer in pipe(image)}
# here: demo = gr.Interface(classify, gr.Image(type="pil"), gr.Label())
demo.launch()
