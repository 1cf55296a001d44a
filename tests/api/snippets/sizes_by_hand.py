# found: code search, files without a name that define create_convnext
# prints: (1, 64)
import torch
from transformers import ConvNextConfig, ConvNextModel, ConvNextV2Config, ConvNextV2Model


def create(depths, hidden_sizes, drop_path_rate=0.5, hidden_act="gelu", num_channels=3, version=1):
    assert len(depths) == len(hidden_sizes), "one depth a stage"
    config_class, model_class = (ConvNextConfig, ConvNextModel) if version == 1 else (ConvNextV2Config, ConvNextV2Model)
    config = config_class(
        num_channels=num_channels,
        num_stages=len(hidden_sizes),
        hidden_sizes=list(hidden_sizes),
        depths=list(depths),
        hidden_act=hidden_act,
        drop_path_rate=drop_path_rate,
    )
    return config, model_class(config)


for version in (1, 2):
    config, model = create([1, 1, 2], [16, 32, 64], version=version)
    print(tuple(model(torch.randn(1, 3, 64, 64)).pooler_output.shape))
