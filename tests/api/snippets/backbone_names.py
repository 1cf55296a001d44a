# found: https://github.com/huggingface/transformers/issues/30124
# prints: True
# warns
from transformers import ConvNextV2Backbone

model = ConvNextV2Backbone.from_pretrained("facebook/convnextv2-base-1k-224")
print("hidden_states_norms.stage4.weight" in list(model.state_dict().keys()))
