"""The toolkit of unlearners that train."""
