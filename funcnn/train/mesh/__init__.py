"""Where params, states and batches lie on a mesh of devices."""
