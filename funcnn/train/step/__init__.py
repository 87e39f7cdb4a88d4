"""One update of a training state: the loss, its gradient, microbatches, loss scaling."""
