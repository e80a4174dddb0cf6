"""One reader a format: each turns a path into a `Dataset`."""
