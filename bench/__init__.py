"""The benchmark suite, `weft bench`: how far from what the hardware allows, and from others.

A suite builds its own inputs, checks results before it times them, and leaves a record with its
conditions in `results/`.
"""
