"""The engine of unlearnbench; it knows no task and no method by name."""
