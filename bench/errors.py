"""The one exception that a user's mistake raises: a single line that names what, where and the remedy."""


class UserError(Exception):
    """A mistake in what the user gave; the CLI prints it as one line and exits with status 2."""
