"""Drawing and judging: from images to item rows."""
