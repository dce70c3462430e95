# Sourced by the scripts beside it: finds a Python 3.11 or newer and enters the pinned tools with it.
# shellcheck shell=sh
top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1

find_python() {
    for python in ${AZREADY_PYTHON:+"$AZREADY_PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
    done
    echo "error: Python 3.11 or newer is needed and none was found: install one, or name it in AZREADY_PYTHON" >&2
    exit 2
}

# Run a Python module of this repository with the tools of build/toolchain.toml installed: with_tools MODULE ARGUMENT...
with_tools() {
    find_python
    PYTHONPATH=$top PYTHONSAFEPATH=1 exec "$python" -m scripts.tasks.enter "$@"
}
