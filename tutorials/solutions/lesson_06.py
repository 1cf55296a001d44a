"""Answers to lesson 06."""

from __future__ import annotations


def fold_layer_scale(weight, bias, scale):
    """Return weight and bias with the layer scale in them."""
    return scale[:, None] * weight, scale * bias


def fold_weight_only(weight, bias, scale):
    """Return the same with the bias forgotten."""
    return scale[:, None] * weight, bias


def unfold_layer_norm(weight, bias, norm_weight, norm_bias):
    """Return weight and bias before LayerNorm's were folded into them."""
    original = weight / norm_weight
    return original, bias - original @ norm_bias


def unfold_with_folded_weight(weight, bias, norm_weight, norm_bias):
    """Return the same with the folded weight in place of the original one."""
    return weight / norm_weight, bias - weight @ norm_bias


RIGHT = [fold_layer_scale, unfold_layer_norm]
WRONG = [fold_weight_only, unfold_with_folded_weight]
