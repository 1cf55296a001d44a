# found: huggingface/transformers src/transformers/models/upernet/test_convnext.py
# prints: classifier.weight (1000, 768)
from transformers import ConvNextForImageClassification

model = ConvNextForImageClassification.from_pretrained("facebook/convnext-tiny-224")

for name, param in model.named_parameters():
    print(name, param.shape)
