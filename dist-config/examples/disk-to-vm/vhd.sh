#!/bin/sh
# vhd.sh DISK VHD: make of a raw disk what Azure takes: a VHD of fixed size, in whole MiB.
set -eu
mib=$((1024 * 1024))
size=$(stat -c %s "$1")
truncate -s $(((size + mib - 1) / mib * mib)) "$1"
# Without force_size, the size would be rounded to cylinders of a disk of old.
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size "$1" "$2"
