"""Rules that are wrong, each in the way its note says."""
