"""Learning rates as functions of the step.

Each is `schedule(step) -> scalar` for a step that is an int or an integer array, traced
or not, 0 for the first update. They are computed in the default float dtype. Rates and
factors may be traced; numbers of steps are Python integers.
"""
