"""The version of this package, as recorded in files, runs and reports."""

__version__ = "0.1.0"
