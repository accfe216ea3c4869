"""Pages, sites, exports and the terminal's tables."""
