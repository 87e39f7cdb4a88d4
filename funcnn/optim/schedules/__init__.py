"""Learning rates that are functions of the step."""
