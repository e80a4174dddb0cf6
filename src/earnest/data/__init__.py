"""From files to typed columns, to splits, to batches."""
