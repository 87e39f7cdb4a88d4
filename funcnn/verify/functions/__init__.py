"""Functions to be judged: split by what can vary, and with their rules erased."""
