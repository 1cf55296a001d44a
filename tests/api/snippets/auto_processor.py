# found: code search, a file without a name that defines download_and_save
# prints: saved to ./mine
from transformers import AutoModel, AutoProcessor


def download_and_save(name="facebook/convnextv2-tiny-22k-224", path="./mine"):
    model = AutoModel.from_pretrained(name)
    processor = AutoProcessor.from_pretrained(name)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    print(f"saved to {path}")


download_and_save()
