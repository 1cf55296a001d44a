"""A model as named steps: what a step is (``step``), what it computes (``operations``), what runs it (``run``)."""
