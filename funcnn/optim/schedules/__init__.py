"""Learning rates as functions of the step.

Each is `schedule(step) -> scalar` for a step that is an int or an integer array, traced
or not, 0 for the first update; a float will do. They are computed in the default float
dtype, and are the same to the last bit whether they are compiled or not. Rates and factors
may be traced; numbers of steps are Python integers.
"""
