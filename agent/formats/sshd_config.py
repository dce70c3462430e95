"""sshd_config: what sshd does for a user, and the lines that change it (sshd_config(5)).

sshd takes the first value that it reads. So the name of the drop-in sorts first, and a block in
sshd_config itself stands at its start. Only what a Match block says overrides what stands before.
"""

from agent.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Values = dict[str, list[str]]

CONFIGS = ("/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config")  # the first that exists counts
FOLDER = "/etc/ssh/sshd_config.d"
DROP_IN = f"{FOLDER}/00-azready.conf"
MAX_INCLUDES = 16  # files inside each other, as many as sshd follows

_BEGIN, _END = "# azready begin\n", "# azready end\n"
# Each line adds to them.
_LISTS = ("allowusers", "denyusers", "allowgroups", "denygroups", "hostkey")


@record
class Server:
    """What sshd does for one user; the defaults are sshd's own.

    `key_files` are its files of keys, as they are written; `methods` are the lists of methods of
    which one has to be passed, () for any one method. The patterns are those of the four keywords.
    `algorithms` are the patterns of the signatures that keys may make, () if they are not known.
    `asks_elsewhere` tells that keys may also come from a command or be certificates.
    """

    key_files: "tuple[str, ...]" = (".ssh/authorized_keys", ".ssh/authorized_keys2")
    public_keys: bool = True
    passwords: bool = True
    keyboard_interactive: bool = True
    uses_pam: bool = False
    strict: bool = True
    methods: "tuple[tuple[str, ...], ...]" = ()
    allow_users: "tuple[str, ...]" = ()
    deny_users: "tuple[str, ...]" = ()
    allow_groups: "tuple[str, ...]" = ()
    deny_groups: "tuple[str, ...]" = ()
    algorithms: "tuple[str, ...]" = ()
    asks_elsewhere: bool = False

    @property
    def asks_by_pam(self) -> bool:
        """Tell whether the method keyboard-interactive asks for the password."""
        return self.keyboard_interactive and self.uses_pam

    @property
    def asks_password(self) -> bool:
        """Tell whether a password lets in, by either of two methods that ask for it."""
        return self.passwords or self.asks_by_pam


def settings(content: bytes) -> "list[tuple[str, list[str]]]":
    """Return (keyword in lower case, arguments without their quotes) of each line."""
    found = []
    for line in content.decode("utf-8", "replace").splitlines():
        words = line.replace("=", " ", 1).split()
        if "#" in line:  # a comment starts at the start of a word
            words = words[: next((at for at, word in enumerate(words) if word[0] == "#"), None)]
        if words:
            found.append((words[0].lower(), [word.strip('"') for word in words[1:]]))
    return found


def effective(
    content: bytes,
    included: "Callable[[str], Iterable[bytes]]",
    user: str,
    groups: "Callable[[], Sequence[str]]",
) -> "Values":
    """Return the values that count for a user who comes from an ordinary address.

    `included` returns the contents of the files that match the pattern of an Include, `groups` the
    names of the user's groups; it is asked only if a Match block is about them.
    """
    base: "Values" = {}
    matched: "Values" = {}

    def read(content: bytes, into: "Values | None", depth: int) -> None:
        # `into` is None in a Match block for others, where only its own lines have no say.
        here = into
        for keyword, arguments in settings(content):
            if keyword == "match":
                is_ours = into is not None and _matches_user(arguments, user, groups)
                here = matched if is_ours else None
            elif keyword == "include" and depth < MAX_INCLUDES and here is not None:
                for pattern in arguments:
                    for inner in included(pattern):
                        read(inner, here, depth + 1)
            elif here is not None and arguments:
                if keyword in _LISTS:
                    here.setdefault(keyword, []).extend(arguments)
                else:
                    here.setdefault(keyword, arguments)

    read(content, base, 0)
    return {**base, **matched}


def dumped(output: str) -> "Values":
    """Return the values in the output of `sshd -T`, which has one item of a list in each line."""
    values: "Values" = {}
    for keyword, arguments in settings(output.encode()):
        values.setdefault(keyword, []).extend(arguments)
    return values


def server(values: "Values") -> Server:
    """Return what these values make of sshd."""
    default = Server()

    def names(keyword: str) -> bool:
        return values.get(keyword, ["none"])[0].lower() != "none"

    def switch(keyword: str, otherwise: bool) -> bool:
        words = values.get(keyword)
        return words[0].lower() == "yes" if words else otherwise

    interactive = switch("challengeresponseauthentication", default.keyboard_interactive)
    methods = values.get("authenticationmethods", ["any"])
    files = values.get("authorizedkeysfile", default.key_files)
    older = values.get("pubkeyacceptedkeytypes", [""])  # its name before OpenSSH 8.5
    algorithms = values.get("pubkeyacceptedalgorithms", older)[0]
    if algorithms[:1] in ("", "+", "-", "^"):
        algorithms = ""  # changes to the default, which sshd alone knows
    return Server(
        key_files=tuple(file for file in files if file.lower() != "none"),
        public_keys=switch("pubkeyauthentication", default.public_keys),
        passwords=switch("passwordauthentication", default.passwords),
        keyboard_interactive=switch("kbdinteractiveauthentication", interactive),
        uses_pam=switch("usepam", default.uses_pam),
        asks_elsewhere=names("authorizedkeyscommand") or names("trustedusercakeys"),
        strict=switch("strictmodes", default.strict),
        methods=() if methods == ["any"] else tuple(tuple(word.split(",")) for word in methods),
        allow_users=tuple(values.get("allowusers", ())),
        deny_users=tuple(values.get("denyusers", ())),
        allow_groups=tuple(values.get("allowgroups", ())),
        deny_groups=tuple(values.get("denygroups", ())),
        algorithms=tuple(filter(None, algorithms.split(","))),
    )


def is_foreseen(read: Server, told: Server) -> bool:
    """Tell whether sshd itself has `told` what was `read` in its files.

    The default for algorithms, which is not in them, may have been told besides.
    """
    return Server(**{**vars(told), "algorithms": read.algorithms}) == read


def key_files(server: Server, user: str, uid: int, home: str) -> "tuple[str, ...]":
    """Return the absolute paths of the user's files of keys."""
    tokens = {"%%": "%", "%u": user, "%U": str(uid), "%h": home}
    found = []
    for file in server.key_files:
        pieces = file.split("%%")
        for token in ("%u", "%U", "%h"):
            pieces = [piece.replace(token, tokens[token]) for piece in pieces]
        path = "%".join(pieces)
        found.append(path if path.startswith("/") else f"{home.rstrip('/')}/{path}")
    return tuple(found)


def accepts(server: Server, kind: str) -> bool:
    """Return whether sshd accepts signatures of a key of this type; "" for one of any type."""
    names = (kind, "rsa-sha2-256", "rsa-sha2-512") if kind == "ssh-rsa" else (kind,)
    known = server.algorithms and kind
    return not known or any(_matches(server.algorithms, (name,)) for name in names)


def refusal(server: Server, user: str, groups: "Sequence[str]") -> str:
    """Return the keyword that keeps the user out, in the order in which sshd asks; "" for none.

    Where the user comes from is not known: of user@host, any host may allow, only * denies. Each
    pattern counts for itself, so that one with ! takes nobody out (allowed_user in auth.c).
    """

    def listed(patterns: "Iterable[str]", names: "Sequence[str]") -> bool:
        return any(fits(pattern, name) for pattern in patterns for name in names)

    if listed((pattern.removesuffix("@*") for pattern in server.deny_users), (user,)):
        return "DenyUsers"
    allowed = tuple(pattern.partition("@")[0] for pattern in server.allow_users)
    if allowed and not listed(allowed, (user,)):
        return "AllowUsers"
    if listed(server.deny_groups, groups):
        return "DenyGroups"
    if server.allow_groups and not listed(server.allow_groups, groups):
        return "AllowGroups"
    return ""


def includes_drop_in(content: bytes) -> bool:
    """Return whether this sshd_config reads DROP_IN, before any Match block."""
    for keyword, arguments in settings(content):
        if keyword == "match":
            return False
        if keyword == "include" and any(_takes_in(pattern) for pattern in arguments):
            return True
    return False


def password_lines(allowed: bool) -> str:
    """Return the lines that allow or forbid logins with a password."""
    if allowed:
        return "PasswordAuthentication yes\n"
    # Keyboard-interactive would ask PAM for the same password by another name.
    return "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"


def with_block(content: bytes, lines: str) -> bytes:
    """Return the content with `lines` in a marked block at its start, replacing an older one."""
    text = content.decode("utf-8", "surrogateescape")
    before, _, rest = text.partition(_BEGIN)
    new = f"{_BEGIN}{lines}{_END}{before}{rest.partition(_END)[2]}"
    return new.encode("utf-8", "surrogateescape")


def absolute(pattern: str) -> str:
    """Return an Include pattern as sshd completes it."""
    return pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"


def fits(pattern: str, text: str) -> bool:
    """Return whether a pattern of * and ? matches a text (PATTERNS of ssh_config(5))."""
    at = place = 0
    star, resumed = -1, 0
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resumed = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            at += 1
            place += 1
        elif star >= 0:
            # On to where what follows the star may begin.
            wanted = pattern[star + 1 : star + 2]
            resumed = resumed + 1 if wanted == "?" else text.find(wanted, resumed + 1)
            if resumed < 0:
                return False
            at, place = star + 1, resumed
        else:
            return False
    return not pattern[at:].strip("*")


def _matches(patterns: "Iterable[str]", names: "Sequence[str]") -> bool:
    """Return whether a pattern takes in one of the names, and none with ! does."""
    found = False
    for pattern in patterns:
        if any(fits(pattern.removeprefix("!"), name) for name in names):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _matches_user(arguments: "list[str]", user: str, groups: "Callable[[], Sequence[str]]") -> bool:
    """Return whether the conditions of a Match block hold for the user.

    Addresses and hosts are not known, so that only the pattern * takes them in.
    """
    if [word.lower() for word in arguments] == ["all"]:
        return True
    known = {"user": lambda: (user,), "group": groups}
    pairs = list(zip(arguments[::2], arguments[1::2], strict=False))
    return bool(pairs) and all(
        _matches(patterns.split(","), known.get(criterion.lower(), lambda: ("",))())
        for criterion, patterns in pairs
    )


def _takes_in(pattern: str) -> bool:
    """Return whether an Include pattern takes in the drop-in."""
    folder, _, name = absolute(pattern).rpartition("/")
    return folder == FOLDER and fits(name, DROP_IN.rpartition("/")[2])
