"""The benchmark suite: results lie in `results/`, each with its conditions."""
