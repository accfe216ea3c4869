"""The contents of a point: weights of the networks that its method trains, and its sampling-time method."""
