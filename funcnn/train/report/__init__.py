"""What a run tells: history, logs, the bar, and a summary of a model."""
