"""The pictures of the board."""
