"""Parts of a chain: they change gradients on their way to an update, or measure them."""
