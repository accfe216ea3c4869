"""What the recipes of worlds share."""
