"""insserv's /etc/init.d/.depend.start: the order in which sysvinit starts its scripts.

It is a makefile: `TARGETS = names`, and `name: those before it` (insserv(8)).
"""

_BEFORE = ("ssh", "dropbear")  # servers that let people in


def with_azready(order: str) -> str:
    """Return a .depend.start with azready in it, before the servers that let people in."""
    lines = without_azready(order).splitlines()
    targets = next((line.split()[2:] for line in lines if line.startswith("TARGETS =")), [])
    lines = [
        f"{line} azready"
        if line.startswith(("TARGETS =", *(f"{name}:" for name in _BEFORE)))
        else line
        for line in lines
    ]
    ruled = [line.partition(":")[0] for line in lines]
    lines += [f"{name}: azready" for name in _BEFORE if name in targets and name not in ruled]
    return "\n".join(lines) + "\n"


def without_azready(order: str) -> str:
    """Return a .depend.start without azready; lines that do not name it stay as they are."""
    kept = []
    for line in order.splitlines(keepends=True):
        words = line.split()
        if "azready" not in words:
            kept.append(line)
        elif len(words) > 2:  # more than "name: azready"
            kept.append(" ".join(word for word in words if word != "azready") + "\n")
    return "".join(kept)
