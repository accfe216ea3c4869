"""What is asked: tasks, draws, plans and choices."""
