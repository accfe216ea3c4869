"""Subcommands next to measuring: templates, ready pictures, looking at records, exports, the installation."""
