"""Plots and images of the pages."""
