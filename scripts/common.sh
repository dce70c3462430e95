# Sourced by the scripts in this folder: finds Python 3.11 or newer, and runs the pinned tools.
# shellcheck shell=sh
top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1

find_python() {
    for python in ${AZREADY_PYTHON:+"$AZREADY_PYTHON"} \
        python3 python3.14 python3.13 python3.12 python3.11; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
    done
    echo "error: Python 3.11 or newer is missing: install it, or set AZREADY_PYTHON to its path" >&2
    exit 2
}

# Run a module of this repository with the tools of build/toolchain.toml: with_tools MODULE WORD...
with_tools() {
    find_python
    PYTHONPATH=$top PYTHONSAFEPATH=1 exec "$python" -m scripts.tasks.enter "$@"
}
