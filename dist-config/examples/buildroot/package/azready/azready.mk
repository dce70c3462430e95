################################################################################
#
# azready
#
################################################################################

AZREADY_VERSION = 0.1.0
AZREADY_SITE = https://github.com/OWNER/azready/releases/download/v$(AZREADY_VERSION)
AZREADY_SOURCE = azready-$(AZREADY_VERSION)-linux-$(BR2_ARCH).tar.gz
AZREADY_LICENSE = MIT, PSF-2.0, Zlib, GPL-2.0-or-later WITH Bootloader-exception (PyInstaller)
AZREADY_LICENSE_FILES = copyright

define AZREADY_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/azready $(TARGET_DIR)/usr/bin/azready
	$(INSTALL) -D -m 0644 $(@D)/azready.toml $(TARGET_DIR)/etc/azready.toml
endef

# The units of the archive start /usr/local/bin/azready.
define AZREADY_INSTALL_INIT_SYSV
	mkdir -p $(TARGET_DIR)/etc/init.d
	sed 's:/usr/local/bin/:/usr/bin/:' $(@D)/units/busybox/etc/init.d/azready \
		> $(TARGET_DIR)/etc/init.d/azready
	chmod 0755 $(TARGET_DIR)/etc/init.d/azready
	ln -sf azready $(TARGET_DIR)/etc/init.d/S41azready
endef

# Buildroot enables what the presets name: systemctl preset-all, when it makes the file system.
define AZREADY_INSTALL_INIT_SYSTEMD
	mkdir -p $(TARGET_DIR)/usr/lib/systemd/system
	sed 's:/usr/local/bin/:/usr/bin/:' $(@D)/units/systemd/etc/systemd/system/azready.service \
		> $(TARGET_DIR)/usr/lib/systemd/system/azready.service
	$(INSTALL) -D -m 0644 $(@D)/units/systemd/etc/systemd/system-preset/80-azready.preset \
		$(TARGET_DIR)/usr/lib/systemd/system-preset/80-azready.preset
endef

$(eval $(generic-package))
