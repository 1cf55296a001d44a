# found: https://github.com/huggingface/transformers/pull/11598
# prints: tabby, tabby cat
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

processor = AutoImageProcessor.from_pretrained("facebook/convnext-tiny-224")
model = AutoModelForImageClassification.from_pretrained("facebook/convnext-tiny-224")

pictures = [Image.open("cat.png"), Image.open("cat.jpg")]
outputs = model(**processor(images=pictures, return_tensors="pt"))

probabilities = outputs.logits.softmax(-1)
scores, ids = probabilities.topk(2)
print(model.config.id2label[int(ids[0][0])])
