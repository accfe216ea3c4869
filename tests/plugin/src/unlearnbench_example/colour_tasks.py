"""A task of the third party's world, read by its judge."""

REGISTER = {"summary": "forget the red background", "file": "colours.toml"}
