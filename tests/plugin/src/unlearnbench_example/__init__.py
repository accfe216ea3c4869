"""A third party's package: it is found by its entry points alone."""
