#!/bin/sh
# upload.sh VHD GROUP LOCATION: upload the VHD to the managed disk azready-base of a resource group.
set -eu
az group create --name "$2" --location "$3"
az disk create --resource-group "$2" --name azready-base \
    --os-type Linux --hyper-v-generation V2 --sku Standard_LRS \
    --upload-type Upload --upload-size-bytes "$(stat -c %s "$1")"
url=$(az disk grant-access --resource-group "$2" --name azready-base \
    --access-level Write --duration-in-seconds 86400 --query accessSas --output tsv)
azcopy copy "$1" "$url" --blob-type PageBlob
az disk revoke-access --resource-group "$2" --name azready-base
