"""Errors of the demo. Each ends `weft demo` with status 1 and its message.

DemoFailed
├── ServerDied
└── StepFailed
"""

import click


class DemoFailed(click.ClickException):
    """The demo did not come to its end."""


class ServerDied(DemoFailed):
    """The server ended, or did not start in time; the message ends with its last lines."""


class StepFailed(DemoFailed):
    """What the demo says happens did not happen."""
