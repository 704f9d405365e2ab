"""What the kernel says of a process."""

import os
import threading
from pathlib import Path

from weft.bench.soak.watch import look


def test_open_files_and_threads_are_counted(tmp_path: Path) -> None:
    before = look(os.getpid())
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    with (tmp_path / "a").open("w"), (tmp_path / "b").open("w"):
        during = look(os.getpid())
    stop.set()
    thread.join()
    assert during.num_files == before.num_files + 2
    assert during.num_threads == before.num_threads + 1
    assert during.rss_mib > 10
