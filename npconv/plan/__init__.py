"""A model as named steps.

- ``step``: what a step and a plan are; ``writing``: the list that a family's plan appends its steps to
- ``operations``: what each step computes; ``run``: what runs a plan, or a part of it
- ``shapes``, ``costs``, ``extent``: for each operation the shape that it gives, what it costs, and how much it holds on
  the way, without any array
"""
