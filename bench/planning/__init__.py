"""Planning: tasks, draws, plans and choices, before anything is computed."""
