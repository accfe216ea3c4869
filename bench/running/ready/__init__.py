"""Images that exist already: read with their prompts, judged and measured as drawn ones are."""
