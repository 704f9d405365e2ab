"""Errors of the demo. Each ends `weft demo` with status 1 and its message.

DemoFailed
└── StepFailed
"""

import click


class DemoFailed(click.ClickException):
    """The demo did not come to its end."""


class StepFailed(DemoFailed):
    """What the demo says happens did not happen."""
