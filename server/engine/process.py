"""The engine process: binds the channel, loads the model, and steps until SIGTERM."""

import gc
import logging
import signal
import sys
import time
from contextlib import closing
from types import FrameType

import torch

from weft.server.channel import EngineSocket, Hello
from weft.server.config import ServeConfig
from weft.server.model.checkpoint import resolve_model
from weft.server.model.facts import base_facts
from weft.server.model.loader import load_model

from .budgets import wanted_context
from .engine import Engine
from .watchdog import Watchdog

logger = logging.getLogger(__name__)

IDLE_S = 0.25  # also how late a deadline is noticed while nothing runs
LOADING_S = 0.002
STATS_S = 1.0
STEP_LIMIT_S = 120.0


def main(config: ServeConfig) -> None:
    """Run the engine process."""
    signal.signal(signal.SIGTERM, _exit)
    with closing(EngineSocket(config.data.socket("engine"))) as socket:
        engine = start_engine(config, socket)
        with closing(engine), closing(Watchdog(STEP_LIMIT_S)) as watchdog:
            serve(engine, socket, watchdog)


def start_engine(config: ServeConfig, socket: EngineSocket) -> Engine:
    """Load the model and lay the engine out around it.

    Raises:
        StartFailed: The model is refused, or the budgets do not fit.
    """
    started = time.monotonic()
    model_config, device = config.model, torch.device(config.model.device)
    facts = base_facts(
        model_config.source,
        name=model_config.name,
        dtype=model_config.dtype,
        quantisation=model_config.quantise,
        hash_cache=config.data.hash_cache,
    )
    folder = resolve_model(model_config.source)
    model = load_model(
        folder,
        facts=facts,
        device=device,
        dtype=getattr(torch, model_config.dtype),
        max_context=wanted_context(config.engine, facts, device),
    )
    engine = Engine(model, facts, config.engine, send=socket.send, folder=folder)
    gc.collect()
    gc.freeze()
    took_s = time.monotonic() - started
    logger.info("%s in %s is ready after %.1f s", facts.name, facts.precision, took_s)
    return engine


def serve(engine: Engine, socket: EngineSocket, watchdog: Watchdog) -> None:
    """Take messages and step, for ever; figures go to the front that has been here longest."""
    fronts: dict[bytes, None] = {}
    next_stats = time.monotonic()
    busy = False
    while True:
        watchdog.beat()
        timeout_s = 0.0 if busy or engine.is_loading else engine.idle_s(IDLE_S)
        for peer, message in socket.receive(timeout_s=timeout_s):
            if isinstance(message, Hello):
                fronts[peer] = None
            engine.receive(peer, message)
        busy = engine.step()
        if not busy and engine.is_loading:
            engine.wait(LOADING_S)
        if fronts and time.monotonic() >= next_stats:
            next_stats = time.monotonic() + STATS_S
            front = next(iter(fronts))
            if not socket.send(front, engine.stats()):
                del fronts[front]


def _exit(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)
