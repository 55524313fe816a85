"""Benchmarks of stylenet and their baselines. Not part of the installed package."""
