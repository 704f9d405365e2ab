"""Child processes: they die with their parent, leave Ctrl-C to it, and say what cannot start."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from weft.server.processes import CANNOT_START

DEADLINE_S = 30.0
PARENT = """
import multiprocessing, signal
from weft.server.processes import run_redis
child = multiprocessing.get_context("spawn").Process(target=run_redis, args=(["/bin/sleep", "99"],))
child.start()
print(child.pid, flush=True)
signal.pause()
"""
ENGINE = """
import sys
from pathlib import Path
from weft.server.config import *
from weft.server.processes import run_engine
root, address = Path(sys.argv[1]), Address("127.0.0.1", 0)
data = DataDir(root / "data")
for folder in (data.run, data.cache, data.metrics):
    folder.mkdir(parents=True, exist_ok=True)
model = ModelConfig(str(root / "nowhere"), "base", "cpu", "float32")
run_engine(ServeConfig(model, data, EngineConfig(), FrontConfig(address), address))
"""


def state_of(pid: int) -> str:
    """The kernel's letter for a process's state; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def await_that(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ignored_signals(pid: int) -> int:
    """The mask of the signals that a process ignores."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if "SigIgn" in line), 16)


def test_a_child_leaves_ctrl_c_to_its_parent_and_dies_with_it() -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        await_that(lambda: "sleep" in Path(f"/proc/{child}/cmdline").read_text())
        assert ignored_signals(child) & 1 << (signal.SIGINT - 1)
        parent.kill()
        parent.wait()
        await_that(lambda: state_of(child) in ("", "Z"))


def test_a_start_that_can_never_succeed_says_so_in_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENGINE, str(tmp_path)], capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == CANNOT_START
    assert "Traceback" not in ended.stderr
    assert "nowhere" in ended.stderr
