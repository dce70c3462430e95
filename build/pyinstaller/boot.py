"""Runs before the agent inside the static file, instead of PyInstaller's own boot script: nothing outside the executable may ever be imported."""

import posix
import sys

sys.path[:] = []
sys.path_hooks[:] = []
sys.path_importer_cache.clear()
sys.meta_path[:] = [finder for finder in sys.meta_path if finder.__name__ != "PathFinder"]
sys.frozen = "@FREEZER@"  # type: ignore[attr-defined]

# The bootloader's notes to itself must not reach the programs that the agent starts.
for name in (b"_PYI_ARCHIVE_FILE", b"_PYI_PARENT_PROCESS_LEVEL", b"_PYI_LINUX_PROCESS_NAME", b"_PYI_APPLICATION_HOME_DIR"):
    if posix.environ.pop(name, None) is not None:
        posix.unsetenv(name)
