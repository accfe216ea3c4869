"""Models: what opens, digests, compares, trains and draws with them."""
