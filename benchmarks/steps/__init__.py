"""Whole training steps, of funcnn and of its peers: the same models and arithmetic."""
