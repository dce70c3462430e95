"""Runs before the agent inside the static file.

PyInstaller's own boot script would allow imports from the disk.
"""

import posix
import sys

sys.path.clear()
sys.frozen = "@FREEZER@"  # type: ignore[attr-defined]

# The bootloader's variables must not reach the programs that the agent starts.
for name in (
    b"_PYI_ARCHIVE_FILE",
    b"_PYI_PARENT_PROCESS_LEVEL",
    b"_PYI_LINUX_PROCESS_NAME",
    b"_PYI_APPLICATION_HOME_DIR",
):
    if posix.environ.pop(name, None) is not None:
        posix.unsetenv(name)
