"""Upkeep: what is counted, when a task falls due, and the work order for it."""
