"""What was decided, as text."""

from npconv.models.naming import Decision, lines

KERNEL = "stem kernel 96x3x4x4"


def test_each_decision_is_a_line_and_what_one_shape_says_is_one():
    decisions = [
        Decision("num_channels", 3, "shapes", "note", KERNEL),
        Decision("patch_size", [4, 2], "shapes", "note", KERNEL),
        Decision("hidden_act", "gelu", "timm", "note", "what timm computes with"),
        Decision("layer_norm_eps", 1e-6, "timm", "note", "what timm computes with"),
        Decision("hidden_act", "silu", "config.json", "note", "config.json says so"),
        Decision("labels", None, "given", "note", "4 names, as given"),
        Decision(
            "preprocessing", {"size": {"shortest_edge": 64}, "crop_pct": 1.0}, "", "guess", "as no weights say it"
        ),
        Decision("", None, "numbers", "warning", "the weights hold NaN"),
    ]
    assert lines(decisions) == [
        "num_channels 3, patch_size [4, 2]: stem kernel 96x3x4x4",
        "hidden_act gelu: what timm computes with",
        "layer_norm_eps 1e-06: what timm computes with",
        'hidden_act "silu": config.json says so',
        "labels: 4 names, as given",
        'preprocessing size {"shortest_edge": 64}, crop_pct 1.0: a guess, as no weights say it',
        "warning: the weights hold NaN",
    ]
    assert str(decisions[-1]) == "the weights hold NaN"
