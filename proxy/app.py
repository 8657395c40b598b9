"""Puts the program together: settings in, objects out, one nursery around them.

Each side imports what it needs when it is started, as nothing else needs it: that is a third of the time until it is ready.
"""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from . import descriptors, heap, telemetry
from .errors import ConfigError
from .sd_notify import keep_alive
from .start import Start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .sd_notify import Notifier
    from .settings import Config

log = telemetry.logger("app")

_STOP = (signal.SIGINT, signal.SIGTERM)


def run_local(config: Config, path: Path) -> None:
    """`ropeway run`, until SIGINT or SIGTERM; with SIGHUP the file at `path` is read again. Raises ConfigError."""
    from .local_program import serve_local_side
    from .local_side import check_exits

    check_exits(config)
    config.log.apply()
    start = Start.from_environment()
    _run(start, serve_local_side, config, path, start)


def run_exit(path: Path) -> None:
    """`ropeway exit run` with the configuration in this file, which is read again when it changes. Until SIGINT or SIGTERM. Raises ConfigError."""
    from .exit_program import serve_exit
    from .reload import Reload

    files = Reload(path)
    settings = files.read()
    settings.config.log.apply()
    start = Start.from_environment()
    _run(start, serve_exit, files, settings, start)


def run_demo(config: Config, port: int, allow_private: bool) -> None:
    """An exit and a local side on loopback, with keys that are forgotten at the end. Raises ConfigError."""
    from .demo import serve_demo

    config.log.apply()
    with tempfile.TemporaryDirectory(prefix="ropeway-demo-") as folder_name:
        _run(Start(), serve_demo, config.local, Path(folder_name), port, allow_private)


def _run(start: Start, serve: Callable[..., Awaitable[None]], *args: object) -> None:
    heap.tune()
    descriptors.allow_many()
    trio.run(_until_signal, serve, args, start.notifier)


async def _until_signal(serve: Callable[..., Awaitable[None]], args: tuple[object, ...], notifier: Notifier) -> None:
    """The first signal ends it in peace; a second one is for the kernel, which ends the process at once."""
    failure: ConfigError | None = None
    with trio.open_signal_receiver(*_STOP) as signals:
        async with trio.open_nursery() as nursery:

            async def serve_and_stop() -> None:
                nonlocal failure
                try:
                    await serve(*args)
                except ConfigError as exc:  # taken out of the nursery by hand, so that no group comes around it
                    failure = exc
                nursery.cancel_scope.cancel()

            nursery.start_soon(serve_and_stop)
            nursery.start_soon(_give_back_memory)
            nursery.start_soon(keep_alive, notifier)
            async for number in signals:
                log.info("stopped by %s", signal.Signals(number).name)
                notifier.stopping()
                for each in _STOP:
                    signal.signal(each, signal.SIG_DFL)  # until the receiver gives back what there was before it
                nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _give_back_memory() -> None:
    while True:
        await trio.sleep(heap.GIVE_BACK_EVERY)
        heap.give_back()
