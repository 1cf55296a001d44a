"""A model as named steps.

- ``step``: what a step and a plan are; ``writing``: the list that a family's plan appends its steps to
- ``operations``: what each step computes: ``operations_forward`` in a model, ``operations_backward`` on the way back
- ``run``: what runs a plan, or a part of it; ``backward``: what walks it back; ``gradient_steps``: the way back as
  steps
- ``shapes``, ``costs``, ``extent``: for each operation the shape that it gives, what it costs, and how much it holds on
  the way, without any array
"""
