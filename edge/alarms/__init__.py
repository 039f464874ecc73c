"""Alarms: what raises one, and its life until nobody needs to look at it any more."""
