"""The verbs; the only place that joins data, models, tasks and training."""
