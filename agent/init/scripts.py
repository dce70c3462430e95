"""An init system whose scripts and links are plain files; each file of this package declares one.

Enabling and disabling means creating and removing links, offline as on the running system, and
without the init system's own tools. Where services start one after the other, azready comes after
the network, which it would wait for otherwise, and before sshd.

Only systemd hears when everything local is done (agent/notify.py). Under OpenRC, sysvinit and the
rcS of busybox, sshd waits for the report, too: their scripts are over when they end. The others
start sshd beside azready: dinit (ready-notification) and s6 (notification-fd) could hear it, but
nothing there waits for azready.
"""

from agent.change import Change, removal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.root import Root


class Scripts:
    """One init system.

    For people: `name` is the value of --init; `title`, `files` and `enabled_by` are for the table
    of README.md; `then` is what is left to do after `install`.

    Detected by `init`, a part of the path that /sbin/init links to, if the folder `init_with`
    exists; or by one of the files `evidence`. `started` are folders whose entries a boot starts,
    where other agents would be.

    `texts` maps the files to their contents, with {executable} to be filled in; they get `mode`.
    A boot starts the first of them because of `links` (path -> target) or `flags` (path ->
    content). With `one_of`, only the first of these folders that exists gets its link.

    `vendor` is the same with everything below /usr, None where nothing is started from there.
    `others` are links that enabled() knows and disable() leaves: they are a vendor's.
    """

    others: "tuple[str, ...]" = ()

    def __init__(
        self,
        *,
        name: str,
        title: str,
        files: str,
        enabled_by: str,
        texts: "Mapping[str, str]",
        links: "Mapping[str, str] | None" = None,
        flags: "Mapping[str, str] | None" = None,
        one_of: "Sequence[str]" = (),
        mode: int = 0o755,
        then: str = "",
        init: str = "",
        init_with: str = "/",
        evidence: "Sequence[str]" = (),
        started: "Sequence[str]" = (),
        vendor: "Scripts | None" = None,
    ) -> None:
        self.name = name
        self.title = title
        self.files = files
        self.enabled_by = enabled_by
        self.texts = texts
        self.links = links or {}
        self.flags = flags or {}
        self.one_of = one_of
        self.mode = mode
        self.then = then
        self.init = init
        self.init_with = init_with
        self.evidence = evidence
        self.started = started
        self.vendor = vendor

    def unit(self, executable: str) -> str:
        """Return the text that runs `executable`, an absolute path inside the image.

        Several files are each preceded by a line with their path.
        """
        contents = self.contents(executable)
        if len(contents) == 1:
            return next(iter(contents.values()))
        return "".join(
            f"# {path}{'' if text else ' (empty)'}\n{text}" for path, text in contents.items()
        )

    def contents(self, executable: str) -> "dict[str, str]":
        """Return path -> text of all files."""
        return {path: text.format(executable=executable) for path, text in self.texts.items()}

    def place(self, root: "Root") -> str:
        """Return the path of the first file if it is there, and of this kind, else ""."""
        path, text = next(iter(self.texts.items()))
        start = text.partition("{")[0].encode()
        return path if root.head(path, len(start)) == start else ""

    def writing(self, root: "Root", executable: str) -> "Iterator[Change]":
        """Yield a change for each file that is missing or different. Raises GuestError."""
        for path, text in self.contents(executable).items():
            if root.read(path) != text.encode():
                yield write(root, path, text, self.mode)

    def enabling(self, root: "Root") -> "Iterator[Change]":
        """Yield the links and flags that are missing, as one change. Raises GuestError."""
        chosen = next((folder for folder in self.one_of if root.is_folder(folder)), "")
        links = [
            link
            for link in self.links
            if (not chosen or link.startswith(f"{chosen}/")) and not root.is_link(link)
        ]
        flags = [path for path in self.flags if not root.exists(path)]

        def apply() -> None:
            for link in links:
                root.link(link, self.links[link])
            for path in flags:
                root.replace(path, self.flags[path].encode())

        if links or flags:
            yield Change(f"enable azready for the next boot: {', '.join([*links, *flags])}", apply)

    def may_be_enabled(self, there: "set[str]") -> bool:
        """Tell whether enabled() could find anything, if these are the names in /etc."""
        return any(may_exist(path, there) for path in (*self.links, *self.flags))

    def enabled(self, root: "Root") -> "list[str]":
        """Return the links and flags that are there. Raises GuestError."""
        links = [link for link in self.links if root.is_link(link)]
        return links + [path for path in self.flags if root.exists(path)]

    def entries(self, root: "Root") -> "list[str]":
        """Return what `disable` removes, in effect or not. Raises GuestError."""
        return self.enabled(root)

    def disable(self, root: "Root", entries: "Sequence[str]") -> "list[str]":
        """Remove these links and flags; return those that were there. Raises GuestError."""
        return [path for path in entries if root.discard(path)]

    def removing(self, root: "Root") -> "Iterator[Change]":
        """Yield the removal of the files, with the folders that are azready's own."""
        if not self.place(root):
            return
        for place in dict.fromkeys(_own(path) for path in self.texts):
            if root.status(place, follow=False) is not None:
                yield removal(root, place)


def write(root: "Root", path: str, text: str, mode: int) -> Change:
    """Return the change that makes `text` the content of a file."""
    return Change(f"write {path}", lambda: root.replace(path, text.encode(), mode))


def may_exist(path: str, there: "set[str]") -> bool:
    """Tell whether there could be anything at `path`, if these are the names in /etc.

    Of most init systems an image has no folder, and this is quicker than a look for each of them.
    """
    return not path.startswith("/etc/") or path.split("/")[2] in there


def _own(path: str) -> str:
    """Return the topmost part of a path that belongs to azready alone: a folder or the file."""
    parts = path.split("/")
    count = next(count for count, part in enumerate(parts, 1) if "azready" in part)
    return "/".join(parts[:count])
