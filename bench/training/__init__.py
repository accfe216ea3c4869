"""The toolkit of methods that train."""
