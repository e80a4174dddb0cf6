"""Evaluation and audit, drawn as one page."""
