"""The same method, which does not declare what it trains: it is refused."""

from .reader import Config, unlearn  # noqa: F401

REGISTER = {"summary": "noise on the text encoder, undeclared", "function": "unlearn", "config": "Config"}
