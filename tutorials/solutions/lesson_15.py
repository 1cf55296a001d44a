"""Answers to lesson 15."""

from __future__ import annotations


def momentum_step(weight, gradient, velocity, rate):
    """Return the new weight and velocity."""
    velocity = 0.9 * velocity + gradient
    return weight - rate * velocity, velocity


def step_with_old_velocity(weight, gradient, velocity, rate):
    """Return the same with the weight moved by the velocity of the step before."""
    return weight - rate * velocity, 0.9 * velocity + gradient


RIGHT = [momentum_step, 16]
WRONG = [step_with_old_velocity, 4]
