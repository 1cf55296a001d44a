# found: https://cdn-avatars.qwak.ai/docs/transformers/v5.8.0/main_classes/pipelines.md
# prints: 4
from PIL import Image
from transformers import pipeline

pipe = pipeline("image-classification", model="facebook/convnext-tiny-224")


def data():
    for _ in range(4):
        yield Image.open("cat.png")


answers = []
for out in pipe(data(), batch_size=2):
    answers.append(out[0]["label"])
print(len(answers))
