"""Tables that hold the item rows or the JSON of all records of a folder."""
