"""Set the user's password, or lock it: by chpasswd, else by a hash in /etc/shadow.

The password reaches a program only through its standard input, and it appears in no message.
"""

import posix

from agent import accounts, programs, sshd
from agent.change import Change, Step
from agent.errors import GuestError
from agent.formats import sha512_crypt
from agent.formats.accounts import LOCKED, SHADOW
from agent.steps import user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes
    from agent.log import Log
    from agent.root import Root

# SHA-512 and yescrypt (crypt(5)); of DES, an old default of busybox, 8 characters count.
_STRONG = ("$6$", "$y$", "$gy$")
MAX_LENGTH = 512  # bytes; the platform accepts at most 72 characters


def changes(boot: "Boot") -> "Changes":
    """Yield the change of the password, or its lock.

    A password that the image brought stays. Raises GuestError if one cannot be set.
    """
    account = user.known(boot)
    if account is None:
        return
    root, name, password = boot.root, account.name, boot.profile.password
    field = accounts.password_field(root, name)
    if field is None and boot.config.steps["user"] and accounts.needs_shadow(root, name):
        field = LOCKED  # of the entry that the step `user` writes
    if password:
        secret = _checked(name, password)
        if field is None:
            raise GuestError(f"cannot set the password of {name}: {SHADOW} has no entry for it")
        if not sha512_crypt.verifies(secret, field):
            text = f"set the password of {name}"
            yield Change(text, lambda: _set(root, name, secret, boot.log))
            boot.promised.add("password")
        return
    # Without PAM, sshd rejects every login to an account that is locked with "!" (sshd(8)).
    lock = LOCKED if sshd.server(boot).uses_pam else "*"
    if field is not None and field[:1] in ("", "!", "*") and not field.startswith(lock):
        text = f"lock the password of {name}"
        yield Change(text, lambda: accounts.set_password_field(root, name, lock))


def _checked(name: str, password: str) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    if len(secret) > MAX_LENGTH or set(password) & set("\0\r\n"):
        raise GuestError(
            f"the password of {name} is refused: it is longer than {MAX_LENGTH} bytes or "
            "contains a line break"
        )
    return secret


def _set(root: "Root", name: str, secret: bytes, log: "Log") -> None:
    if chpasswd := programs.usable(root, "chpasswd"):
        before = accounts.password_field(root, name)
        try:
            result = programs.run([chpasswd], stdin=f"{name}:".encode() + secret + b"\n")
        except GuestError as error:
            log.warning(f"{error}; /etc/shadow is edited instead")
        else:
            field = accounts.password_field(root, name) or ""
            did = "changed nothing" if field == before else "stored it in a weak form"
            if result.code == 0 and field != before and field.startswith(_STRONG):
                return
            # Its output may repeat the password.
            log.warning(
                f"{chpasswd} exited with status {result.code} and {did}; "
                "/etc/shadow is edited instead"
            )
    salt = sha512_crypt.salt(posix.urandom(16))
    accounts.set_password_field(root, name, sha512_crypt.sha512_crypt(secret, salt))


PASSWORD = Step("password", "Set the given password, or lock the account's.", changes, fatal=True)
