"""A module per command of `weft bench`; each imports its suite when it runs."""
