"""Parts that the recipes of worlds share."""
