"""The one way to share a stream of work among processes, machines and faults.

- ``batches``: what is done to items, and how many are worked on at a time
- ``loader``: what each process loads once to do it
- ``pool``, ``process``, ``program``: worker processes of this machine, and the program they are of
- ``cluster``: those of a Dask cluster
- ``interrupts``: Ctrl-C where it can do no harm
"""
