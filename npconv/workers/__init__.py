"""The one way to share a stream of work among processes, machines and faults."""
