"""How the embedded worlds were made."""
