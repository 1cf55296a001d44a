# found: 3145tttt/diffusion-classification upload_model.py
# row: model.push_to_hub(name)
from transformers import AutoModelForImageClassification

model = AutoModelForImageClassification.from_pretrained("facebook/convnext-tiny-224")
model.push_to_hub(repo_id="me/my-convnext", commit_message="Trained", safe_serialization=True)
# here: model.save_pretrained("my-convnext")
