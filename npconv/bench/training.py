"""A step of training, forward and backward, beside PyTorch's: ``python -m npconv.bench.training``.

Both run the same model with random weights in processes of their own, one after the other, round by round. A step of
PyTorch is ``model.train()`` of transformers, eager: ``model(pixel_values, labels=labels).loss.backward()``.

Memory is the largest set size that a process has had (``VmHWM``) after all steps, less its set size (``VmRSS``) before
the first: model and libraries are loaded by then, and the gradients count.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from npconv.bench import machine
from npconv.bench.architectures import ARCHITECTURES, write_random_model
from npconv.bench.contenders import environment
from npconv.bench.figures import agrees, difference, median, paired_ratio
from npconv.bench.processes import OtherPrograms, peak_bytes, resident_bytes
from npconv.bench.remote import RemoteEngine
from npconv.bench.step import Seconds
from npconv.bench.turns import take_turns
from npconv.files.temporary import temporary_folder

MODELS = ("convnextv2-atto", "cvt-13")
NPCONV, TORCH = "explicit_training", "torch_training"

#: Fewer operations than this part of the time are not printed.
SMALL = 0.01


@dataclass(frozen=True)
class Comparison:
    """A step of npconv and of PyTorch."""

    seconds: tuple[float, float]  #: medians over the rounds: npconv's, PyTorch's
    ratio: float  #: the median of the ratios within a round
    peak_bytes: tuple[int, int]
    agrees: bool  #: whether both have the same logits
    operations: Mapping[str, Seconds]  #: of npconv, ``"forward"`` and ``"backward"``


def compare(name: str, *, batch: int, size: int, threads: int, rounds: int) -> Comparison:
    """Measure a model of `ARCHITECTURES`, without drop path, so that both compute the same."""
    config = ARCHITECTURES[name]()
    config.drop_path_rate = 0.0 if isinstance(config.drop_path_rate, float) else [0.0] * len(config.drop_path_rate)
    shape = [batch, config.num_channels, size, size]
    with temporary_folder() as folder, ExitStack() as stack:
        write_random_model(config, Path(folder))
        engines = {side: stack.enter_context(RemoteEngine(environment(threads))) for side in (NPCONV, TORCH)}
        for side, engine in engines.items():
            engine.load(side, {"model": str(folder), "threads": threads})
            engine.ask("pictures", shape=shape)
        before = {side: resident_bytes(engine.pid) for side, engine in engines.items()}
        logits = {side: engine.ask("logits")["logits"] for side, engine in engines.items()}
        turns = take_turns(engines, dict.fromkeys(engines, 1.0), rounds)
        peaks = {side: peak_bytes(engine.pid) - before[side] for side, engine in engines.items()}
        operations = engines[NPCONV].ask("training_operations", model=str(folder))["seconds"]
    times = [turns.times[side] for side in (NPCONV, TORCH)]
    ratio = paired_ratio(times[0], times[1])
    assert ratio is not None
    return Comparison(
        (median(list(times[0].values())), median(list(times[1].values()))),
        ratio,
        (peaks[NPCONV], peaks[TORCH]),
        agrees(difference(logits[NPCONV], logits[TORCH])),
        operations,
    )


def lines(comparison: Comparison) -> list[str]:
    """Return what is printed of a comparison."""
    (ours, theirs), (our_peak, their_peak) = comparison.seconds, comparison.peak_bytes
    found = [
        f"  seconds: npconv {ours:.2f}, PyTorch {theirs:.2f}, ratio {comparison.ratio:.2f}",
        f"  peak memory: npconv {our_peak / 1e6:.0f} MB, PyTorch {their_peak / 1e6:.0f} MB, "
        f"ratio {our_peak / their_peak:.2f}",
        f"  same logits: {'yes' if comparison.agrees else 'NO'}",
    ]
    for way, operations in comparison.operations.items():
        total = sum(operations.values())
        found.append(f"  {way}: {total:.2f} s")
        for name, seconds in sorted(operations.items(), key=lambda item: -item[1]):
            if seconds >= SMALL * total:
                found.append(f"    {name:<24} {seconds:6.3f} s  {100 * seconds / total:3.0f} %")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m npconv.bench.training", description="A step beside PyTorch's.")
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help=f"of {', '.join(ARCHITECTURES)}")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224, help="height and width of the pictures")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    print(", ".join(f"{key} {value}" for key, value in machine.describe().items()))
    for name in given.models:
        others = OtherPrograms()
        found = compare(name, batch=given.batch, size=given.size, threads=given.threads, rounds=given.rounds)
        cores = others.cores()
        print(f"{name}, {given.batch} x {given.size} pixels, {given.threads} threads, float32")
        print("\n".join(lines(found)))
        print(f"  other programs used {'an unknown number of' if cores is None else f'{cores:.1f}'} cores meanwhile")


if __name__ == "__main__":
    main()
