"""Runs before the agent inside the static file, instead of PyInstaller's own boot script, which would open a way to modules on the disk."""

import posix
import sys

sys.path.clear()
sys.frozen = "@FREEZER@"  # type: ignore[attr-defined]

# The bootloader's notes to itself must not reach the programs that the agent starts.
for name in (b"_PYI_ARCHIVE_FILE", b"_PYI_PARENT_PROCESS_LEVEL", b"_PYI_LINUX_PROCESS_NAME", b"_PYI_APPLICATION_HOME_DIR"):
    if posix.environ.pop(name, None) is not None:
        posix.unsetenv(name)
