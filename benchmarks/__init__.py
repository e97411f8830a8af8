"""Comparisons with other implementations; see README.md. Not part of the library."""
