"""Keeps slow results between builds, and shows a person how they are made.

Every result lies in a folder named after a hash of all its inputs. Any clone finds it, and it never
becomes stale. A folder is valid only once it contains `.done`; a lock makes two builds on one
machine wait for each other.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import Console

from build import toolchain

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 150)


class BuildError(Exception):
    """The build cannot continue; `str(error)` says what happened and what to do."""


def key(*inputs: str | bytes | pathlib.Path) -> str:
    """Return a hash over texts, bytes and the contents of files."""
    digest = hashlib.sha256()
    for value in inputs:
        data = value.read_bytes() if isinstance(value, pathlib.Path) else value
        data = data.encode() if isinstance(data, str) else data
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def made(
    name: str, inputs: str, make: Callable[[pathlib.Path], None], *, hint: str = ""
) -> pathlib.Path:
    """Return the folder with the result of step `name` for the hash `inputs`.

    If the cache lacks it, `make(folder)` fills it; `hint` says how long that takes.
    """
    place = toolchain.cache_folder() / f"{name}-{inputs}"
    if (place / ".done").exists():
        console.print(f"  [dim]{name}: from the cache[/dim]")
        return place
    with locked(name):
        if not (place / ".done").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            started = time.monotonic()
            console.print(f"  {name}: building{f' ({hint})' if hint else ''}")
            make(place)
            (place / ".done").touch()
            console.print(f"  {name}: [green]done[/green] in {time.monotonic() - started:.0f} s")
    return place


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of one step on this machine."""
    toolchain.cache_folder().mkdir(parents=True, exist_ok=True)
    with open(toolchain.cache_folder() / f"{name}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    log: pathlib.Path,
    cwd: pathlib.Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a command with its output in the file `log`, showing the last line while it works.

    Raises BuildError with the end of the log if the command fails.
    """
    words = [os.fspath(word) for word in command]
    with open(log, "ab") as output:
        output.write(f"$ {' '.join(words)}\n".encode())
        output.flush()
        try:
            process = subprocess.Popen(
                words,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise BuildError(f"cannot run {words[0]}: {error.strerror}") from None
        with console.status("") as status:
            started = said = time.monotonic()
            while process.poll() is None:
                time.sleep(0.2)
                now = time.monotonic()
                status.update(f"[dim]{now - started:4.0f} s  {_last_line(log)}[/dim]")
                if not console.is_terminal and now - said > 30:
                    said = now
                    console.print(f"    {now - started:4.0f} s  {_last_line(log)}", markup=False)
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        ended = f"{words[0]} exited with status {process.returncode}"
        raise BuildError(f"{ended}; the end of {log}:\n{tail}")


def _last_line(log: pathlib.Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 400))
        lines = file.read().decode(errors="replace").split("\n")
    shown = next((line for line in reversed(lines) if line.strip()), "")
    return shown[:100].replace("[", "\\[") if console.is_terminal else shown[:100]
