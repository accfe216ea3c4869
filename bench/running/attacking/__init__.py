"""Attack a saved point: what the attack is given, its run, its record."""
