# found: ZeruiW/Vision_Model_Quality_Attributes_IEEESSE24 modelfordev/module/1/convnext.py
# prints: 281
import torch
from transformers import ConvNextForImageClassification


def load_model():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = ConvNextForImageClassification.from_pretrained("facebook/convnext-tiny-224").to(device)
    model.eval()
    return model


def predict(model, picture):
    with torch.no_grad():
        logits = model(picture.unsqueeze(0)).logits
        best = torch.argmax(logits, dim=1).item()
    return best


print(predict(load_model(), torch.rand(3, 224, 224)))
