#!/bin/sh
# Turns a VM of Debian's image into an image in which azready is the only agent. Run once, as root:
# the agents take sudo's rules with them.
set -eu
export DEBIAN_FRONTEND=noninteractive

# 1. The other agents, with their settings. azready steps back while one is enabled.
apt-get --yes purge cloud-init waagent
apt-get --yes autoremove --purge
rm -rf /etc/cloud /var/lib/cloud /var/lib/waagent /etc/waagent.conf

# 2. The network: what cloud-init wrote of it names the network card of this VM.
rm -f /etc/netplan/50-cloud-init.yaml /etc/network/interfaces.d/50-cloud-init \
    /etc/systemd/network/10-cloud-init-*.network
cat >/etc/systemd/network/50-azure.network <<'END'
[Match]
Name=e*
[Network]
DHCP=yes
[DHCPv4]
UseDomains=yes
END
systemctl enable systemd-networkd.service

# 3. azready, for the first boot of each VM.
install -m 0755 /tmp/azready /usr/local/bin/azready
rm /tmp/azready
azready install

# 4. What makes this machine unique, and Packer's user: last, nothing can be run after this.
azready generalize --yes --user packer
