# found: https://github.com/huggingface/transformers/issues/17267
# prints: (224, 224)
import transformers

feature_extractor = transformers.AutoFeatureExtractor.from_pretrained("facebook/convnext-tiny-224")
edge = feature_extractor.size["shortest_edge"]
print((edge, edge))
