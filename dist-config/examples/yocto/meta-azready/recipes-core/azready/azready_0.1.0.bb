SUMMARY = "Static agent that makes a Linux image ready for Azure"
DESCRIPTION = "At the first boot it sets host name, user and SSH keys, and reports Ready."
HOMEPAGE = "https://github.com/OWNER/azready"
BUGTRACKER = "https://github.com/OWNER/azready/issues"
SECTION = "admin"
LICENSE = "MIT & PSF-2.0 & Zlib & GPL-2.0-or-later-WITH-Bootloader-exception"
NO_GENERIC_LICENSE[GPL-2.0-or-later-WITH-Bootloader-exception] = "copyright"
CVE_PRODUCT = "azready"

# LIC_FILES_CHKSUM and the sums of the archives: README.md has the commands that write them.
require azready-sums.inc

SRC_URI = "https://github.com/OWNER/azready/releases/download/v${PV}/azready-${PV}-linux-${TARGET_ARCH}.tar.gz;name=${TARGET_ARCH}"

S = "${UNPACKDIR}/azready-${PV}-linux-${TARGET_ARCH}"

inherit systemd update-rc.d

INITSCRIPT_NAME = "azready"
# After networking (01), before sshd (09).
INITSCRIPT_PARAMS = "start 05 2 3 4 5 ."
SYSTEMD_SERVICE:${PN} = "azready.service"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0755 ${S}/azready ${D}${bindir}/azready
    install -D -m 0644 ${S}/azready.toml ${D}${sysconfdir}/azready.toml
    # The units of the archive start /usr/local/bin/azready.
    install -d ${D}${sysconfdir}/init.d ${D}${systemd_system_unitdir}
    sed "s:/usr/local/bin/:${bindir}/:" ${S}/units/sysvinit/etc/init.d/azready \
        > ${D}${sysconfdir}/init.d/azready
    chmod 0755 ${D}${sysconfdir}/init.d/azready
    sed "s:/usr/local/bin/:${bindir}/:" ${S}/units/systemd/etc/systemd/system/azready.service \
        > ${D}${systemd_system_unitdir}/azready.service
    chmod 0644 ${D}${systemd_system_unitdir}/azready.service
}

CONFFILES:${PN} = "${sysconfdir}/azready.toml"

# The file is static and has no sections.
INSANE_SKIP:${PN} += "already-stripped"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
INHIBIT_PACKAGE_STRIP = "1"

COMPATIBLE_HOST = "(x86_64|aarch64).*-linux"
