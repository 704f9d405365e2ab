"""The bodies of the processes that `weft serve` starts; each imports what it needs when it runs."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .config import RegistryConfig, ServeConfig
from .errors import StartFailed
from .logs import configure_logging

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
CANNOT_START = 78  # EX_CONFIG: another try would end the same way


def run_redis(command: list[str]) -> None:
    """Become the redis-server."""
    _belong_to_parent()
    os.execv(command[0], command)


def run_engine(config: ServeConfig) -> None:
    with _process(config):
        from .engine.process import main

        main(config)


def run_front(config: ServeConfig, registry: RegistryConfig) -> None:
    with _process(config):
        from .rpc.app import main

        main(config, registry)


def run_worker(config: ServeConfig, registry: RegistryConfig) -> None:
    with _process(config):
        from .worker import main

        main(config, registry)


@contextmanager
def _process(config: ServeConfig) -> Iterator[None]:
    """Set the process up; a start that can never succeed ends with CANNOT_START."""
    _belong_to_parent()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(config.data.metrics)
    if not sys.stderr.isatty():
        os.environ["TQDM_DISABLE"] = "1"  # a log wants no progress bars
    configure_logging(config.log_format)
    try:
        yield
    except StartFailed as error:
        logger.critical("%s", error)
        sys.exit(CANNOT_START)


def _belong_to_parent() -> None:
    """Die with the supervisor, and leave Ctrl-C, which the whole terminal group gets, to it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
