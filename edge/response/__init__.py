"""Telling people: ladders of who is called next, channels to reach them, and a record of every attempt."""
