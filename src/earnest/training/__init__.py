"""The one loop, and what it stands on: optimisers, schedules, checkpoints, plans, processes."""
