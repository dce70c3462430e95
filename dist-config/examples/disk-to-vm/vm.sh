#!/bin/sh
# vm.sh GROUP KEY: make an image of the disk azready-base, and a VM of it whose user has the public
# key in the file KEY.
set -eu
az image create --resource-group "$1" --name azready-image \
    --source azready-base --os-type Linux --hyper-v-generation V2
az vm create --resource-group "$1" --name web-1 --image azready-image \
    --size Standard_D2s_v5 --enable-agent false \
    --admin-username azureuser --ssh-key-values "$2"
az vm boot-diagnostics enable --resource-group "$1" --name web-1
