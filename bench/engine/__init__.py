"""`weft bench engine`: an engine in this process, part by part."""
