"""Looks at the data before anything trains: one check a function, each returning findings."""
