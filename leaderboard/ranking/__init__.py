"""The numbers of the board."""
