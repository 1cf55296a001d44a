# found: amar-jay/nn models/divov3-dev/example.py
from transformers import pipeline
from transformers.image_utils import load_image

address = "https://huggingface.co/datasets/huggingface/documentation-images/resolve/main/pipeline-cat-chonk.jpeg"
picture = load_image(address)

extract = pipeline(
    model="facebook/dinov3-convnext-tiny-pretrain-lvd1689m",
    task="image-feature-extraction",
)
features = extract(picture)

print(features)
