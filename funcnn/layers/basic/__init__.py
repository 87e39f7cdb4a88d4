"""Layers that most networks have: dense and gated maps, activations, norms, dropout."""
