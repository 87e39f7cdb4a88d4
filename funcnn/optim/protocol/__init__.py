"""What an optimizer is, hyperparameters, pytrees, and optimizers in a chain or by parts."""
