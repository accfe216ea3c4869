"""How a model uses a device: the type of its numbers, and what of it stays in the host's memory."""
