"""A model update against a policy."""
