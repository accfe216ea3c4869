"""Records, their item rows, and what lies next to them."""
