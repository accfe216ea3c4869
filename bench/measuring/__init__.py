"""From images to item rows."""
