"""How steps are carried out: performed or rehearsed, one after the other, fatal ones or not."""

from agent import signals
from agent.change import perform, rehearse
from agent.errors import GuestError
from agent.steps import EARLY, HOST_KEYS, STEPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.boot import Boot
    from agent.change import Change, Step


def run_steps(boot: "Boot", steps: "Sequence[Step]" = STEPS) -> None:
    """Carry out steps of this run. Raises GuestError for the failure of a fatal one, and Ended."""
    carry_out(boot, lambda changes: attempt(boot, changes), boot.log.warning, steps)


def carry_out(
    boot: "Boot",
    act: "Callable[[Iterator[Change]], object]",
    warn: "Callable[[str], object]",
    steps: "Sequence[Step]" = STEPS,
) -> None:
    """Hand the stream of each of `steps` that is switched on to `act`. Raises GuestError."""
    for step in steps:
        if not boot.config.steps[step.name]:
            boot.log.debug(f"steps.{step.name} is off")
            continue
        if step.name in boot.done and step in (*EARLY, HOST_KEYS):
            continue  # before the metadata, or in a pause
        try:
            carry_out_one(boot, step, act)
        except GuestError as error:
            if step.name in boot.config.fatal:
                raise
            warn(str(error))
    if boot.profile.preprovisioned and steps is STEPS:  # said once
        boot.log.warning(
            "this VM comes from a pool of preprovisioned VMs, which azready does not support: its "
            "settings may be the pool's, not the owner's"
        )


def carry_out_one(boot: "Boot", step: "Step", act: "Callable[[Iterator[Change]], object]") -> None:
    """Hand the stream of a step to `act`, and note that it is done. Raises GuestError."""
    boot.log.status(f"step {step.name}: {step.summary}")
    act(step.changes(boot))
    boot.done.add(step.name)


def attempt(boot: "Boot", changes: "Iterator[Change]") -> None:
    """Do what act() does, unless a signal has come. Raises GuestError, and Ended."""
    signals.listen()  # the clean-up of an earlier one that failed may have hidden a signal
    act(boot, changes)


def act(boot: "Boot", changes: "Iterator[Change]") -> int:
    """Perform changes, or rehearse them; return how many there were. Raises GuestError."""
    return rehearse(changes, boot.log) if boot.rehearsing else perform(changes, boot.log)


def or_warn(boot: "Boot", work: "Callable[[], object]") -> None:
    """Do some work whose GuestError is a warning."""
    try:
        work()
    except GuestError as error:
        boot.log.warning(str(error))
