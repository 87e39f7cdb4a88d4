"""What `python -m benchmarks NAME` does: a file for each name."""
