"""What goes around an optimizer: accumulation, averages of weights, refusal of NaN."""
