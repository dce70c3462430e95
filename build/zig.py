"""Uses zig as the C compiler: flags, environment, and tools as configure expects them.

zig compiles for every machine on every machine, and brings musl.
"""

import concurrent.futures
import functools
import os
import pathlib
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence

from build import toolchain
from build.cache import BuildError, console, key, made

CFLAGS = (
    "-Os",
    "-fstack-protector-strong",
    "-fno-sanitize=undefined",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-Wno-date-time",
)
LDFLAGS = (
    "-static",
    "-Wl,--gc-sections",
    "-s",
    "-Wl,-z,relro,-z,now",
    "-Wl,-z,stack-size=0x800000",  # musl's default is 128 KB per thread
)


@functools.cache
def tools(machine: str) -> pathlib.Path:
    """Return a folder with `cc`, `ar` and `ranlib` for a machine."""
    target = toolchain.machines()[machine]["zig"]

    def write(place: pathlib.Path) -> None:
        zig = f"{sys.executable} -m ziglang"
        for name, words in (("cc", f"cc -target {target}"), ("ar", "ar"), ("ranlib", "ranlib")):
            script = place / name
            script.write_text(f'#!/bin/sh\nexec {zig} {words} "$@"\n')
            script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)

    return made("zig-tools", key(target, sys.executable), write)


def environment() -> dict[str, str]:
    """Return the environment for zig and for programs that start it.

    It has a cache to itself, and no variable that would change a build.
    """
    changing = ("CFLAGS", "CPPFLAGS", "LDFLAGS", "CC", "OPT", "MAKEFLAGS", "LANG", "LANGUAGE", "TZ")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in changing and not name.startswith(("LC_", "PYTHON"))
    }
    cache = toolchain.cache_folder()
    return {
        **kept,
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        # 2026-01-01: CPython compiles a date in, and PyInstaller's archive contains one.
        "SOURCE_DATE_EPOCH": "1767225600",
        "ZIG_GLOBAL_CACHE_DIR": str(cache / "zig"),
        # zig's cache distinguishes objects by most flags, but not by -fstack-protector (seen in
        # 0.15.2).
        "ZIG_LOCAL_CACHE_DIR": str(cache / f"zig-local-{key(*CFLAGS)}"),
    }


def compile_all(
    commands: Mapping[str, Sequence[str | os.PathLike[str]]], folder: pathlib.Path
) -> None:
    """Run a compiler command for each object file of `commands`, on all processors.

    -o is added to each command. Raises BuildError.
    """

    def compile_one(name: str) -> None:
        words = [*(os.fspath(word) for word in commands[name]), "-o", str(folder / name)]
        result = subprocess.run(
            words, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if result.returncode:
            raise BuildError(
                f"{' '.join(words)} exited with status {result.returncode}:\n"
                f"{result.stderr[-3000:]}"
            )

    with (
        concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
        console.status("") as status,
    ):
        for count, _ in enumerate(pool.map(compile_one, commands), 1):
            status.update(f"[dim]{count} of {len(commands)} C files are compiled[/dim]")
