# found: code search, a file without a name that defines initialize_convnext
# prints: 3
# warns
from transformers import ConvNextConfig, ConvNextForImageClassification

labels = ["crack", "dent", "scratch"]
config = ConvNextConfig.from_pretrained("facebook/convnext-tiny-224")
config.id2label = {str(i): c for i, c in enumerate(labels)}
config.label2id = {c: str(i) for i, c in enumerate(labels)}
config.num_labels = len(labels)
model = ConvNextForImageClassification.from_pretrained(
    "facebook/convnext-tiny-224",
    config=config,
    ignore_mismatched_sizes=True,
)
print(model.config.num_labels)
