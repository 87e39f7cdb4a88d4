"""What all of funcnn shares: dtypes, cotangents, products, the compiler, meshes, and checks
of arguments.
"""
