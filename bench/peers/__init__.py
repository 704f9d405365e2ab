"""Other people's ways to serve adapters, imported from their installed packages."""
