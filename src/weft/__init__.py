"""Weft: multi-LoRA adapter serving."""

__version__ = "0.1.0"
