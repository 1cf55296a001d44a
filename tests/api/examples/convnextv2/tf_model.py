# found: documentation of transformers 4, ConvNeXt V2 (in Japanese), TFConvNextV2Model.call
# prints: [1, 768, 7, 7]
from datasets import load_dataset
from transformers import AutoImageProcessor, TFConvNextV2Model

cats = load_dataset("huggingface/cats-image", trust_remote_code=True)
photo = cats["test"]["image"][0]

prepare = AutoImageProcessor.from_pretrained("facebook/convnextv2-tiny-1k-224")
network = TFConvNextV2Model.from_pretrained("facebook/convnextv2-tiny-1k-224")

batch = prepare(photo, return_tensors="tf")
answer = network(**batch)

maps = answer.last_hidden_state
print(list(maps.shape))
