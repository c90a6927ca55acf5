"""Layers, one idea a file; none of them knows a file, a CRS or a field."""
