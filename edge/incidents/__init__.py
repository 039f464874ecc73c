"""Incidents: alarms with one cause as one thing to know of and to answer; what repeats itself; the figures of it."""
