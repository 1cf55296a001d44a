"""How fast the engines are, beside their rivals, measured so that the figures can be trusted.

One file for each idea; read them in this order:

- ``architectures``: models with random weights at the activation ranges of trained ones
- ``contenders``: what can be measured, which extras it needs, and in what environment it runs
- ``runners``: how each engine loads a model and computes logits
- ``orders``, ``remote``: an engine in a process of its own, and the controller's hold on it
- ``turns``: all engines one after another, round by round, so that a slow minute hits them alike
- ``figures``: medians, quartiles, ratios, means, and how far logits are from the truth
- ``processes``: the peak memory of a process and all its children, and who else was using the machine
- ``fresh``: cold start and peak memory in fresh processes
- ``machine``: what the figures were measured on
- ``step``, ``training``: a step of training beside PyTorch's, by ``python -m npconv.bench.training``
- ``measure``: one model with all of them, and all of it together, as one report
"""
