# found: https://github.com/huggingface/transformers/issues/28548
# prints: 3
from datasets import load_dataset
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

pipe = pipeline("image-classification", model="facebook/convnext-tiny-224")
rows = load_dataset("mnist", split="test")
count = 0
for _ in pipe(KeyDataset(rows, "image"), batch_size=2):
    count += 1

print(count)
