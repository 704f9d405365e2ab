"""`weft bench serving`: open-loop traffic against a running server, over gRPC."""
