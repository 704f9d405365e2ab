"""`weft bench soak`: hours of churn on a tiny model, and nothing may leak or be wrong."""
