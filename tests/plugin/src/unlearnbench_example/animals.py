"""A task of a third party: another subject of the tiny world."""

REGISTER = {"summary": "forget the dog", "file": "animals.toml"}
