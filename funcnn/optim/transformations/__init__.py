"""Parts of a chain: gradients in, other gradients out."""
