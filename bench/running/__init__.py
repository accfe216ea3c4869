"""Running: what executes a plan, cell by cell."""
