"""Worlds of real models."""
