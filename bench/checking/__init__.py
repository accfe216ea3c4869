"""What a record, a policy or a suite may say: ranges of numbers, and names that are known."""
