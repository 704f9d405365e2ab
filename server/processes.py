"""The bodies of the processes that `weft serve` starts; each imports what it needs when it runs."""

import ctypes
import os
import signal
import sys

from .config import RegistryConfig, ServeConfig
from .logs import configure_logging

PR_SET_PDEATHSIG = 1


def run_redis(command: list[str]) -> None:
    """Become the redis-server."""
    _belong_to_parent()
    os.execv(command[0], command)


def run_engine(config: ServeConfig) -> None:
    _prepare(config)
    from .engine.process import main

    main(config)


def run_front(config: ServeConfig, registry: RegistryConfig) -> None:
    _prepare(config)
    from .rpc.app import main

    main(config, registry)


def run_worker(config: ServeConfig, registry: RegistryConfig) -> None:
    _prepare(config)
    from .worker import main

    main(config, registry)


def _prepare(config: ServeConfig) -> None:
    _belong_to_parent()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(config.data.metrics)
    if not sys.stderr.isatty():
        os.environ["TQDM_DISABLE"] = "1"  # a log wants no progress bars
    configure_logging(config.log_format)


def _belong_to_parent() -> None:
    """Die with the supervisor, and leave Ctrl-C, which the whole terminal group gets, to it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
