"""Attention, its cache, embeddings and positions, and the transformers built of them."""
