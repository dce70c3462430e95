"""Whether there is anything to do here: this is Azure, and nobody else provisions."""

import posix

from agent.errors import GuestError, PrivilegeError
from agent.init import rivals
from agent.machine import identity
from agent.settings import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot


def is_wanted(boot: "Boot") -> bool:
    """Tell whether this is Azure, and nobody else provisions; find the VM's id in DMI.

    If not, the log says so. Raises PrivilegeError if this user may not find out.
    """
    if boot.root.is_live and posix.geteuid() != 0 and not boot.rehearsing:
        raise PrivilegeError(
            "provision changes this machine and needs root: run it as root, or name another tree "
            "with --root DIR"
        )
    if not boot.force and not _is_on_azure(boot):
        return False
    boot.vm_id = identity.vm_id(boot.root)
    return not _has_rival(boot)


def _is_on_azure(boot: "Boot") -> bool:
    on_azure, why = identity.on_azure(boot.root)
    if not on_azure:
        boot.log.info(f"not a VM on Azure ({why}): nothing to do; --force overrides this")
    return on_azure


def _has_rival(boot: "Boot") -> bool:
    """Tell whether another agent is enabled that azready leaves the work to."""
    if not boot.config.step_back:
        return False
    try:
        name, link = rivals.enabled(boot.root)
    except GuestError as error:
        boot.log.warning(f"{error}; going on as if no other agent were enabled")
        return False
    if name:
        boot.log.warning(
            f"{name} is enabled ({link}) and provisions this VM: nothing is done; "
            f"step_back = false in {DEFAULT_PATH} overrides this"
        )
    return bool(name)
