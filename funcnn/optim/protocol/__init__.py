"""What an optimizer is, and what all share: hyperparameters and pytrees, checked."""
