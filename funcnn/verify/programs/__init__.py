"""The programs that a check runs, compiled, and the numbers that they give."""
