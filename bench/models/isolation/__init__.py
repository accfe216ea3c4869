"""Runs a method in isolation from everything that it must not change."""
