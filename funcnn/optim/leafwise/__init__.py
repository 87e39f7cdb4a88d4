"""A rule for one leaf, made an optimizer of pytrees."""
