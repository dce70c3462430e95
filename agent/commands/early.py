"""What a first boot does before the platform answers: what the provisioning CD alone tells."""

from agent import notify, profile, sshd
from agent.commands.carrying import act, attempt, carry_out_one, run_steps
from agent.errors import GuestError
from agent.init import rivals
from agent.log import Quiet
from agent.steps import EARLY, LOGIN, SSH_KEYS, USER, host_keys, media

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.profile import Profile


def begin(boot: "Boot") -> None:
    """Do what needs no network, which may not be there yet. Raises GuestError.

    The CD is read, host keys are begun, and the host name is set before anybody asks for a lease.
    If the CD says enough, the user can log in then. The metadata may still say otherwise, and so
    may sshd, which takes longer to ask than its files to read: it is asked meanwhile.
    """
    if boot.rehearsing and boot.dhcp is not None and boot.root.is_live:
        from agent.machine import dhcp

        act(boot, dhcp.plan(boot.root, boot.dhcp))
    if boot.rehearsing or not boot.vm_id:
        return  # without an id, the metadata have to say whether all is done
    host_keys.begin(boot)
    boot.beside = lambda: _use_keys(boot)
    if boot.config.steps["media"]:
        media.look(boot, Quiet(), waits=False)
    boot.profile = profile.merge(None, boot.medium)
    is_whole = profile.suffices(boot.medium) and not boot.profile.preprovisioned
    try:
        boot.foresees = is_whole and bool(sshd.program(boot.root))
        # Without a CD there is no host name yet, and one that comes late must not find it done.
        some = EARLY[:1] if boot.medium else ()
        for step in EARLY if is_whole else some:
            if boot.config.steps[step.name]:
                carry_out_one(boot, step, lambda changes: attempt(boot, changes))
    except GuestError as error:
        boot.log.debug(f"not before the metadata are known: {error}")  # they may say otherwise
    _use_keys(boot)


def _use_keys(boot: "Boot") -> None:
    """Put host keys in their place as soon as they are made, and let people in."""
    while step := host_keys.due(boot):
        run_steps(boot, (step,))
    _let_in(boot)


def _let_in(boot: "Boot") -> None:
    """Have systemd start sshd and the others if the user can log in already, and ask sshd.

    Units that come after this one may use customData, so that these have to be saved first; and the
    Azure Linux agent would report Ready before the metadata, or sshd, have been heard.
    """
    if LOGIN.name not in boot.done or host_keys.are_missing(boot):
        return
    if not boot.let_in and not boot.profile.encoded_custom_data and not _is_followed(boot):
        boot.let_in = True
        notify.ready()
    sshd.ask(boot)


def _is_followed(boot: "Boot") -> bool:
    try:
        return rivals.reports_at_its_start(boot.root)
    except GuestError:
        return True


def take(boot: "Boot", told: "Profile") -> None:
    """Take this profile, and what sshd itself says.

    Where either differs from what was known before, all that was done early is done anew.
    """
    early, boot.profile = boot.profile, told
    if told.early() == early.early():
        _take_server(boot)
        return
    sshd.forget(boot)
    boot.server = None
    if USER.name in boot.done and told.user_name != early.user_name:
        boot.log.warning(
            f"the instance metadata name the user {told.user_name}, and the provisioning CD "
            f"{early.user_name}, whose account stays: remove it if nobody needs it"
        )
    elif SSH_KEYS.name in boot.done and (others := early.keys() - told.keys()):
        boot.log.warning(
            f"the instance metadata do not name {len(others)} of the SSH keys of the provisioning "
            "CD, which stay authorized: remove them if nobody needs them"
        )
    _repeat(boot)


def _take_server(boot: "Boot") -> None:
    """Ask sshd; whether anybody can log in is judged anew by its answer."""
    try:
        is_foreseen = sshd.confirm(boot)
    except GuestError:
        is_foreseen = False  # the step tells
    if is_foreseen:
        boot.done.discard(LOGIN.name)
    elif is_foreseen is not None:
        _repeat(boot)


def _repeat(boot: "Boot") -> None:
    boot.done -= {step.name for step in EARLY}
    boot.account = None


def end(boot: "Boot") -> None:
    """End what was begun and never waited for, as a run that is over. Raises GuestError."""
    sshd.forget(boot)
    host_keys.end(boot)
