"""Attacks: one file each, found by name through the registry; README.md says how to add one."""
