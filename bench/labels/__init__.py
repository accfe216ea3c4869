"""Labelling: a person judges images, and the answers measure the judge."""
