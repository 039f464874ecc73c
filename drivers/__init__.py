"""How to talk to equipment: points, profiles, and one module for each protocol."""
