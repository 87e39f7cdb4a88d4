"""The loop around a step: its guard, its evaluations, when it stops."""
