"""Bundled model weights (safetensors), read through importlib.resources."""
