"""Examples, training, inference and voting."""
