"""What a point holds: weights of the networks that its method trains, and what acts while it is drawn."""
