"""A method's run, kept apart from everything that it must not change."""
