# A managed image of Debian 12 in which azready is the only agent. See README.md.

variable "subscription_id" {
  type = string
}

variable "resource_group" {
  type        = string
  description = "Exists already. The image is made in it."
}

variable "location" {
  type    = string
  default = "westeurope"
}

variable "azready" {
  type        = string
  default     = "azready-linux-x86_64"
  description = "The static file for the VM's architecture."
}

# Packer reads ARM_CLIENT_ID and ARM_CLIENT_SECRET, or use_azure_cli_auth = true with its plugin 2.
source "azure-arm" "debian" {
  subscription_id = var.subscription_id

  managed_image_resource_group_name = var.resource_group
  managed_image_name                = "debian-12-azready"

  os_type         = "Linux"
  image_publisher = "Debian"
  image_offer     = "debian-12"
  image_sku       = "12-gen2"
  location        = var.location
  vm_size         = "Standard_D2s_v5"

  # The image's own agent makes this user, and generalize removes it again.
  ssh_username = "packer"
}

build {
  sources = ["source.azure-arm.debian"]

  provisioner "file" {
    source      = var.azready
    destination = "/tmp/azready"
  }

  # Nobody can log in afterwards to clean up; the next boot empties /tmp.
  provisioner "shell" {
    execute_command = "sudo sh {{ .Path }}"
    script          = "${path.root}/image.sh"
    skip_clean      = true
  }
}
