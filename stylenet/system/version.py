"""The version of this package: what files, runs and reports say they were made with."""

__version__ = "0.1.0"
