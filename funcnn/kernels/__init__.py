"""How ops compute: formulations of convolution, attention, pooling and norms, which know
nothing of rules.
"""
