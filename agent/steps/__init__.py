"""What a first boot does, in the order it does it. Read this page first.

`azready provision` runs these steps one after the other; `--dry-run` and `check` rehearse the same
ones. A step that the settings switch off is skipped. If a step fails that `fatal` names, the run
fails and the platform is told why; the failure of any other step is a warning.

Before them (commands/provision.py): stop if this is not Azure, if another agent is enabled, or if
this VM has been provisioned; begin to generate host keys, do what the CD alone tells, and fetch the
instance metadata. After them: report Ready, write the marker, wait for the host keys that take
long, disable the unit. So everything that can fail does so before Ready is reported, which makes
the platform remove the CD; and marker and unit follow an accepted report only.
"""

from agent.steps.custom_data import CUSTOM_DATA
from agent.steps.host_keys import HOST_KEYS, REST
from agent.steps.host_name import HOST_NAME
from agent.steps.kvp import KVP
from agent.steps.login import LOGIN
from agent.steps.media import MEDIA
from agent.steps.password import PASSWORD
from agent.steps.profile import PROFILE
from agent.steps.publish_host_name import PUBLISH_HOST_NAME
from agent.steps.ready import DISABLE, MARKER, READY
from agent.steps.ssh_keys import SSH_KEYS
from agent.steps.sshd import SSHD
from agent.steps.sudo import SUDO
from agent.steps.user import USER
from agent.steps.user_data import USER_DATA

__all__ = [
    "DISABLE",
    "EARLY",
    "HOST_KEYS",
    "LOGIN",
    "MARKER",
    "READY",
    "REST",
    "SSH_KEYS",
    "STEPS",
    "USER",
]

STEPS = (
    MEDIA,  # read host name, user, password and customData from the provisioning CD
    PROFILE,  # make sure that the platform said anything at all
    HOST_NAME,  # set it in the kernel, /etc/hostname and /etc/hosts
    PUBLISH_HOST_NAME,  # renew a DHCP lease, so that DNS learns the new name
    USER,  # create account, home and group memberships
    SUDO,  # let the user become root
    SSHD,  # allow or forbid logins with a password
    SSH_KEYS,  # authorize the user's keys, where sshd looks for them
    PASSWORD,  # set the password, or lock it
    LOGIN,  # make sure that the user can log in
    HOST_KEYS,  # wait for host keys, without which sshd lets nobody in; begun before all others
    CUSTOM_DATA,  # save it, and run it if the settings say so
    USER_DATA,  # save it
    KVP,  # record the success for the Hyper-V host
)
# Carried out before the metadata are fetched, if the CD says enough: the first one always, because
# it should come before DHCP. They are repeated only if the metadata say otherwise.
EARLY = (HOST_NAME, USER, SUDO, SSHD, SSH_KEYS, PASSWORD, LOGIN)
# READY, MARKER, REST (of the host keys) and DISABLE follow; the first two and the last cannot be
# switched off, and each of these needs the one before.
