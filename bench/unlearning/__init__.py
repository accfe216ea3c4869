"""The tool `unlearn`."""
