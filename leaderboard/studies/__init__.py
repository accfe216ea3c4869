"""What a board does not rank: requests one after another, and what forgetting does near its target."""
