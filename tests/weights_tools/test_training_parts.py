"""The parts of a training: how pictures are varied, layers that are quicker to train, the learning rate."""

import copy

import pytest

from weights_tools import train


@pytest.mark.reference
@pytest.mark.parametrize("size", [12, 16, 17])
def test_variations_have_the_asked_size_and_repeat_with_the_seed(size):
    torch = pytest.importorskip("torch")
    from weights_tools.training.augment import augment

    pixels = torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = pixels.clone()
    first, again, other = (augment(pixels, size) for seed in (4, 4, 5) if torch.manual_seed(seed))
    assert first.shape == (40, 3, size, size)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(pixels, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.reference
def test_cuts_are_moved_by_whole_pixels_or_resampled_and_half_mirrored():
    torch = pytest.importorskip("torch")
    from weights_tools.training.augment import random_cuts

    torch.manual_seed(0)
    flat = torch.tensor([0.1, 0.5, 0.8])[:, None, None].expand(200, 3, 32, 32)
    torch.testing.assert_close(random_cuts(flat, 24), flat[..., :24, :24])
    columns = torch.linspace(0, 1, 32).expand(400, 3, 32, 32)
    cuts = random_cuts(columns, 32)[:, 0, 16]
    steps = cuts.diff()[:, 8:-8] * 31
    moved = (steps.abs() - 1).abs().max(1).values < 1e-3
    assert 150 < moved.sum() < 250  # of 400, half; 5 standard deviations
    assert 150 < (steps[:, 0] < 0).sum() < 250


@pytest.mark.reference
def test_normalise_centres_each_colour():
    torch = pytest.importorskip("torch")
    from weights_tools.training.augment import normalise

    result = normalise(torch.full((2, 3, 4, 5), 0.7), [0.1, 0.2, 0.3], [0.5, 0.25, 0.2])
    torch.testing.assert_close(result[1, :, 3, 2], torch.tensor([1.2, 2.0, 2.0]))


@pytest.mark.reference
def test_a_part_is_covered_or_exchanged_with_its_share_of_the_class():
    torch = pytest.importorskip("torch")
    from weights_tools.training.augment import COVERED, cover, exchange

    torch.manual_seed(0)
    ones = torch.ones(300, 3, 20, 20)
    assert torch.equal(cover(ones, 0.0), ones)
    covered = 1 - cover(ones, 1.0)[:, 0].mean((1, 2))
    assert 0 < covered.max() <= COVERED[1] ** 2
    assert 100 < (cover(ones, 0.5) == 0).any(3).any(2).any(1).sum() < 200
    x = torch.arange(300.0)[:, None, None, None].expand(300, 3, 20, 20)
    mixed, targets = exchange(x, torch.eye(300), 0.8)
    torch.testing.assert_close(targets.sum(1), torch.ones(300))
    strange = (mixed != x)[:, 0].float().mean((1, 2))
    torch.testing.assert_close(1 - targets.diag(), strange)
    assert (mixed[1:] - x[1:]).unique().tolist() == [-1, 0]


@pytest.mark.reference
@pytest.mark.parametrize("family", train.FIELDS)
def test_depthwise_convolutions_as_matrices_have_the_same_values_and_derivatives(family):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from weights_tools.training.families import build
    from weights_tools.training.matrix_depthwise import use_matrix_depthwise

    torch.manual_seed(0)
    model = build(family, ["a", "b"], 16, [4, 6, 8], [1, 2, 3]).double()
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    results = []
    for _ in range(2):
        state = copy.deepcopy(model.state_dict())
        logits = model(x).logits
        results.append([logits, *torch.autograd.grad(logits.square().sum(), list(model.parameters()))])
        model.load_state_dict(state)  # statistics of batch norms move
        use_matrix_depthwise(model, torch.zeros_like(x), torch.float64)
        model.load_state_dict(state)
    for expected, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)  # some thousand roundings of float64


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of its own parts, on importing its compiler
@pytest.mark.parametrize("family", train.FIELDS)
def test_every_block_is_compiled_that_is_to_be(family):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from weights_tools.training.families import build
    from weights_tools.training.learner import compile_blocks

    model = build(family, ["a", "b"], 16, [4, 6, 8], [1, 2, 3])
    compile_blocks(model)
    compiled = [name for name, module in model.named_modules() if module._compiled_call_impl is not None]
    assert sum(name.rpartition(".")[0].endswith(".layers") for name in compiled) == 6
    assert any("embedding" in name for name in compiled)


@pytest.mark.reference
def test_fast_grn_has_the_values_and_derivatives_of_transformers():
    torch = pytest.importorskip("torch")
    modeling = pytest.importorskip("transformers.models.convnextv2.modeling_convnextv2")
    from weights_tools.training.fast_grn import use_fast_grn

    generator = torch.Generator().manual_seed(0)
    layer = modeling.ConvNextV2GRN(7).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64, generator=generator, requires_grad=True)
    direction = torch.randn(2, 3, 5, 7, dtype=torch.float64, generator=generator)
    results = []
    for _ in range(2):
        y = layer(x)
        results.append([y, *torch.autograd.grad((y * direction).sum(), [x, layer.weight, layer.bias])])
        use_fast_grn(layer)
    for expected, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)  # some hundred roundings of float64


@pytest.mark.reference
def test_a_copy_with_fast_grn_computes_with_its_own_weights():
    torch = pytest.importorskip("torch")
    modeling = pytest.importorskip("transformers.models.convnextv2.modeling_convnextv2")
    from weights_tools.training.fast_grn import use_fast_grn

    layer = modeling.ConvNextV2GRN(7)
    use_fast_grn(layer)
    other = copy.deepcopy(layer)
    torch.nn.init.constant_(other.bias, 0.5)
    x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(other(x) - layer(x), torch.full_like(x, 0.5))
