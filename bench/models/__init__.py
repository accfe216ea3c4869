"""Models: opening, digests, comparison, training and drawing."""
