# found: huggingface/transformers docs/source/en/tasks/image_feature_extraction.md
# prints: (1, 768, 7, 7)
import numpy as np
from PIL import Image
from transformers import pipeline

pipe = pipeline(task="image-feature-extraction", model="facebook/convnextv2-base-22k-224", device="cpu")
outputs = pipe(Image.open("cat.png"))
print(np.array(outputs).shape)
