"""Child processes: groups, bounds, identities and what a dead parent leaves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.local.errors import StartError
from infra.local.keeper import Keeper
from infra.local.process import TETHER, Command, ProcessId, Running, stop_orphans

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
PARENT = "import subprocess, sys; c = subprocess.Popen(['sleep', '60']); print(c.pid, flush=True); c.wait()"


@pytest.fixture
def command(tmp_path: Path) -> Callable[[str], Command]:
    def make(code: str) -> Command:
        argv = (sys.executable, "-c", code)
        return Command(name="child", argv=argv, environment=dict(os.environ), log=tmp_path / "logs" / "child.log")

    return make


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


async def printed(running: Running) -> str:
    """What the child printed, once it printed a line."""
    text = ""

    async def has_line() -> bool:
        nonlocal text
        text = running.command.log.read_text()
        return text.endswith("\n")

    await running.until(has_line, 10)
    return text.strip()


def gone(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        process.wait(5)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    return True


async def test_output_goes_to_the_log_and_the_code_comes_back(command: Callable[[str], Command]) -> None:
    running = await Running.start(command("print('hello'); raise SystemExit(7)"))
    assert await running.wait() == 7
    assert running.command.log.read_text() == "hello\n"


async def test_a_long_log_is_set_aside(command: Callable[[str], Command], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local.process.LOG_LIMIT", 3)
    for _ in range(2):
        await (await Running.start(command("print('hello')"))).wait()
    log = command("").log
    assert log.read_text() == log.with_name("child.log.1").read_text() == "hello\n"


async def test_a_stubborn_process_is_killed_after_the_bound(command: Callable[[str], Command]) -> None:
    running = await Running.start(command(STUBBORN))
    await printed(running)
    started = time.monotonic()
    assert await running.stop(0.3) == -signal.SIGKILL
    assert 0.3 <= time.monotonic() - started < 3


async def test_grandchildren_go_with_their_leader(command: Callable[[str], Command]) -> None:
    running = await Running.start(command(PARENT))
    grandchild = int(await printed(running))
    os.kill(running.identity.pid, signal.SIGKILL)
    await running.wait()
    assert gone(grandchild)


async def test_an_exit_while_starting_is_told_with_the_end_of_the_log(command: Callable[[str], Command]) -> None:
    async def never() -> bool:
        return False

    running = await Running.start(command("print('no port'); raise SystemExit(1)"))
    with pytest.raises(StartError, match=r"child exited with code 1 while starting(.|\n)*no port"):
        await running.until(never, 10)


async def test_silence_while_starting_is_bounded(command: Callable[[str], Command]) -> None:
    async def never() -> bool:
        return False

    running = await Running.start(command("import time; time.sleep(60)"))
    with pytest.raises(StartError, match="does not answer"):
        await running.until(never, 0.2)
    await running.stop(5)


def test_an_identity_is_more_than_a_pid(sleeper: subprocess.Popen[bytes]) -> None:
    identity = ProcessId.of(sleeper.pid)
    assert identity.find() is not None
    assert ProcessId(pid=identity.pid, created=identity.created - 60).find() is None
    sleeper.kill()
    sleeper.wait()
    assert identity.find() is None


def test_orphans_are_stopped_and_strangers_are_not(sleeper: subprocess.Popen[bytes]) -> None:
    identity = ProcessId.of(sleeper.pid)
    assert stop_orphans([ProcessId(pid=identity.pid, created=identity.created - 60)], 5) == 0
    assert sleeper.poll() is None
    assert stop_orphans([identity], 5) == 1
    assert identity.find() is None


def test_a_tethered_child_does_not_outlive_its_parent_where_the_kernel_can_tell() -> None:
    code = (
        "import os, subprocess, sys\n"
        f"tether = [sys.executable, {str(TETHER)!r}, str(os.getpid())]\n"
        "subprocess.run([*tether, 'sh', '-c', 'echo $$; exec sleep 10'])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert gone(child) is (sys.platform == "linux")


async def test_a_keeper_restarts_until_it_is_stopped(command: Callable[[str], Command]) -> None:
    notes: list[str] = []
    mended: list[int] = []
    keeper = Keeper(
        command("import time; print('up', flush=True); time.sleep(60)"),
        stop_seconds=5,
        changed=lambda: None,
        note=notes.append,
        now=lambda: 0.0,  # how long it ran must not depend on how busy the machine is
        mend=lambda: mended.append(keeper.restarts),
    )
    first = await keeper.start()
    assert not mended
    await printed(first)
    os.kill(first.identity.pid, signal.SIGKILL)

    async def restarted() -> bool:
        return keeper.restarts == 1 and keeper.running is not None

    probe = await Running.start(command("import time; time.sleep(60)"))
    await probe.until(restarted, 10)
    await probe.stop(5)
    second = keeper.running
    assert second is not None
    assert second.identity.pid != first.identity.pid
    await keeper.stop()
    assert gone(second.identity.pid)
    assert notes == ["child exited with code -9 after 0 s: started again in 0 s"]
    assert mended == [0]


async def test_a_keeper_is_stopped_while_it_waits_to_restart(command: Callable[[str], Command]) -> None:
    keeper = Keeper(
        command("raise SystemExit(1)"), stop_seconds=5, changed=lambda: None, note=lambda _: None, now=lambda: 0.0
    )
    await keeper.start()
    probe = await Running.start(command("import time; time.sleep(60)"))

    async def backing_off() -> bool:
        return keeper.restarts >= 1 and keeper.running is None

    await probe.until(backing_off, 10)
    await probe.stop(5)
    await keeper.stop()
    assert keeper.running is None
