"""Package `weft.v1`: what the services say and hear."""
