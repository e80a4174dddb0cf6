"""`earnest cache`: what is kept for the next run, and how to be rid of it."""

from __future__ import annotations

from earnest.data.cache import cache_folder, cache_info, clear_cache


def info() -> str:
    """Where the cache is and how large, as a sentence."""
    files, size = cache_info()
    return f"{cache_folder()}: {files} files, {size / 1e6:,.1f} MB"


def clear() -> str:
    """Delete the cache; says what was deleted."""
    files, size = clear_cache()
    return f"{cache_folder()}: {files} files deleted, {size / 1e6:,.1f} MB"
