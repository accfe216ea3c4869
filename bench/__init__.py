"""The engine of unlearnbench; it names no task and no method."""
