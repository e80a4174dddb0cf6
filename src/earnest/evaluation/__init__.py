"""Honest numbers: metrics, intervals, baselines, calibration."""
