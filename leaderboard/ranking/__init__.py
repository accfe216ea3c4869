"""Ranking: points, AVA, comparisons, and the rows and columns of tables."""
