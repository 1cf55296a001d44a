"""Record what a PyTorch model computes; copy this file, it needs nothing of npconv.

with record(model, "mine.safetensors"):
    model(pixel_values)

with record(model, "mine.safetensors", gradients=True):  # as NAME.grad; those of parameters too
    model(pixel_values, labels=labels).loss.backward()
"""

import contextlib
import json
import sys


@contextlib.contextmanager
def record(model, path, gradients=False):
    """Write the first tensor that each module returns to a safetensors file, under the module's name."""
    import safetensors.torch
    import torch

    found: dict = {}

    def save(name, tensor):
        found[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)

    def keep(name, output):
        while hasattr(output, "to_tuple") or isinstance(output, (tuple, list)):
            output = next(iter(output.to_tuple() if hasattr(output, "to_tuple") else output), None)
        if isinstance(output, torch.Tensor) and name not in found:
            save(name, output)
            if gradients and output.requires_grad:
                output.register_hook(lambda gradient: save(f"{name}.grad", gradient))

    def keep_input(_, args, kwargs):
        keep("pixel_values", [*args, *kwargs.values()])

    hooks = [model.register_forward_pre_hook(keep_input, with_kwargs=True)]
    for name, module in model.named_modules():
        if name:  # the model itself has none
            hooks.append(module.register_forward_hook(lambda _, __, output, name=name: keep(name, output)))
    if gradients:
        model.zero_grad()
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    for name, parameter in model.named_parameters() if gradients else ():
        if parameter.grad is not None:
            save(f"{name}.grad", parameter.grad)
    made_by = {"torch": "torch", "torchvision": "torchvision", "PIL": "pillow"}
    versions = {made_by[name]: sys.modules[name].__version__ for name in made_by if name in sys.modules}
    safetensors.torch.save_file(found, path, {"npconv.golden": json.dumps({"versions": versions})})
