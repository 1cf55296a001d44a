# found: code search, a file without a name that defines HF_Convnext
# prints: 4,888,392 total parameters.
from transformers import ConvNextConfig, ConvNextModel


def make_model():
    config = ConvNextConfig.from_pretrained(
        "facebook/convnext-tiny-224",
        out_features=["stage1", "stage2", "stage3", "stage4"],
        output_hidden_states=True,
        drop_path_rate=0.7,
    )
    return ConvNextModel.from_pretrained("facebook/convnext-tiny-224", config=config)


model = make_model()
total = sum(p.numel() for p in model.parameters())
print(f"{total:,} total parameters.")
