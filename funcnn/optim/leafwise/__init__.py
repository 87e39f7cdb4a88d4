"""A rule for one leaf in, an optimizer of pytrees out."""
