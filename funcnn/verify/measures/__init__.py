"""What rules cost: time, and memory held between the passes."""
