# An image of the disk azready-base, and a VM of it, in place of vm.sh. See README.md.

terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.0"
    }
  }
}

provider "azurerm" {
  features {}
  subscription_id = var.subscription_id
}

variable "subscription_id" {
  type = string
}

variable "resource_group" {
  type = string
}

variable "ssh_key_file" {
  type        = string
  description = "File with the public key of the user."
}

variable "user" {
  type    = string
  default = "azureuser"
}

data "azurerm_managed_disk" "base" {
  name                = "azready-base"
  resource_group_name = var.resource_group
}

resource "azurerm_image" "image" {
  name                = "azready-image"
  resource_group_name = var.resource_group
  location            = data.azurerm_managed_disk.base.location
  hyper_v_generation  = "V2"

  os_disk {
    os_type         = "Linux"
    os_state        = "Generalized"
    storage_type    = "Standard_LRS"
    managed_disk_id = data.azurerm_managed_disk.base.id
  }
}

resource "azurerm_virtual_network" "network" {
  name                = "azready-network"
  resource_group_name = var.resource_group
  location            = data.azurerm_managed_disk.base.location
  address_space       = ["10.0.0.0/16"]
}

resource "azurerm_subnet" "default" {
  name                 = "default"
  resource_group_name  = var.resource_group
  virtual_network_name = azurerm_virtual_network.network.name
  address_prefixes     = ["10.0.0.0/24"]
}

resource "azurerm_network_interface" "nic" {
  name                = "web-1-nic"
  resource_group_name = var.resource_group
  location            = data.azurerm_managed_disk.base.location

  ip_configuration {
    name                          = "first"
    subnet_id                     = azurerm_subnet.default.id
    private_ip_address_allocation = "Dynamic"
  }
}

resource "azurerm_linux_virtual_machine" "web" {
  name                  = "web-1"
  resource_group_name   = var.resource_group
  location              = data.azurerm_managed_disk.base.location
  size                  = "Standard_D2s_v5"
  source_image_id       = azurerm_image.image.id
  network_interface_ids = [azurerm_network_interface.nic.id]
  admin_username        = var.user

  # The image has no agent: Azure would wait for it with extensions.
  provision_vm_agent         = false
  allow_extension_operations = false

  admin_ssh_key {
    username   = var.user
    public_key = file(var.ssh_key_file)
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "Standard_LRS"
  }

  # The serial console, where azready's lines are.
  boot_diagnostics {}
}
