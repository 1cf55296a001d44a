# found: code search, a file without a name that defines convnextv2(nn.Module)
# prints: (1, 3, 224, 224)
from PIL import Image
from transformers import AutoImageProcessor, ConvNextV2Model

model = ConvNextV2Model.from_pretrained("facebook/convnextv2-tiny-22k-224")
processor = AutoImageProcessor.from_pretrained(
    "facebook/convnextv2-tiny-22k-224",
    do_normalize=False,
    do_rescale=False,
)
print(tuple(processor(Image.open("cat.jpg"), return_tensors="pt").pixel_values.shape))
