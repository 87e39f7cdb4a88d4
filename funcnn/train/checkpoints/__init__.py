"""Training states on disk: what a checkpoint holds, Orbax, safetensors."""
