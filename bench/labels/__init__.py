"""A person judges images."""
