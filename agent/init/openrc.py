"""OpenRC (openrc-run(8)).

`use net` starts the network first if the runlevel has one. Nothing is needed by name: Debian's
OpenRC, for one, has no localmount, and the runlevel before has mounted the local file systems.
"""

from agent.init.scripts import Scripts

_TEXT = """\
#!/sbin/openrc-run
description="Make this machine ready for Azure"

depend() {{
    use net
    after localmount bootmisc hostname networking dhcpcd
    before sshd dropbear agetty local
}}

start() {{
    ebegin "Making this machine ready for Azure"
    {executable} provision
    eend $?
}}
"""

SYSTEM = Scripts(
    name="openrc",
    title="OpenRC",
    files="`/etc/init.d/azready`",
    enabled_by="link in `/etc/runlevels/default`",
    init="openrc-init",
    # OpenRC also runs under the init of sysvinit or busybox.
    evidence=("/sbin/openrc-run", "/usr/sbin/openrc-run"),
    started=tuple(f"/etc/runlevels/{level}" for level in ("sysinit", "boot", "default")),
    texts={"/etc/init.d/azready": _TEXT},
    links={"/etc/runlevels/default/azready": "/etc/init.d/azready"},
)
