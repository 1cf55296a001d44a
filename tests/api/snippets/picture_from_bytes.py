# found: https://theneuralbase.com/huggingface-api/learn/beginner/image-classification/
# prints: ['class', 'class', 'tabby,']
from io import BytesIO

import requests
from PIL import Image
from transformers import pipeline

answer = requests.get("https://upload.wikimedia.org/wikipedia/commons/thumb/4/4d/Cat_November_2010-1a.jpg")
picture = Image.open(BytesIO(answer.content))

classify = pipeline("image-classification", model="facebook/convnext-tiny-224", top_k=3)
lines = []
for result in classify(picture):
    lines.append(f"{result['label']}: {result['score']:.4f}")
print(sorted(line.split()[0] for line in lines))
