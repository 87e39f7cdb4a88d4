"""What is likely wrong with a cotangent, from the pattern in which it is wrong."""
