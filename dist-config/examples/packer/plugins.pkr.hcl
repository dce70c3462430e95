# Packer 1.7 and newer: `packer init .` fetches the plugin. Older ones contain it, and want no such
# file.
packer {
  required_plugins {
    azure = {
      version = ">= 2.0.0"
      source  = "github.com/hashicorp/azure"
    }
  }
}
