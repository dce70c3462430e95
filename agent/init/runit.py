"""runit (sv(8), runsvdir(8)).

After `once` the service is not started again when it ends, however it ends. The next boot starts it
again, if the link is still there.

runsvdir starts a new service within seconds. On a running system, what `install` and `generalize`
enable is for the next boot: the machine would be provisioned again before it is captured. So the id
of the boot lies beside the script, which does nothing during that boot.
"""

from agent.init import scripts
from agent.init.scripts import Scripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.change import Change
    from agent.root import Root

_FOLDERS = ("/etc/runit/runsvdir/default", "/etc/service", "/var/service")
_RUN = "/etc/sv/azready/run"
_NOT_DURING = "/etc/sv/azready/not-during"
_BOOT = "/proc/sys/kernel/random/boot_id"
_TEXT = f"""\
#!/bin/sh
sv once .
if [ -e not-during ] && [ "$(cat not-during)" = "$(cat {_BOOT})" ]; then
    echo "azready is for the next boot: it was enabled in this one"
    exit 0
fi
exec {{executable}} provision 2>&1
"""


class _Runit(Scripts):
    def enabling(self, root: "Root") -> "Iterator[Change]":
        """Yield, on a running system, what keeps this boot from starting azready; then the link."""
        links = list(super().enabling(root))
        boot = root.read(_BOOT) if links and root.is_live else None
        if boot and root.read(_NOT_DURING) != boot:
            yield scripts.write(root, _NOT_DURING, boot.decode(), 0o644)
        yield from links


SYSTEM = _Runit(
    name="runit",
    title="runit",
    files="`/etc/sv/azready/run`",
    enabled_by="link in `/etc/runit/runsvdir/default`, else `/etc/service` or `/var/service`",
    init="runit",
    evidence=("/etc/runit/2",),
    started=("/etc/runit/runsvdir/default", "/var/service"),
    texts={_RUN: _TEXT},
    links={f"{folder}/azready": "/etc/sv/azready" for folder in _FOLDERS},
    one_of=_FOLDERS,
)
