"""What hand-written rules cost and gain: `python -m benchmarks --help`."""
