"""Derivative rules to judge the verifier by: wrong ones to catch, right ones to pass."""
