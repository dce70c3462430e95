// An image of the disk azready-base, and a VM of it, in place of vm.sh. See README.md.

param location string = resourceGroup().location

@description('The public key of the user, one line.')
param sshKey string

param user string = 'azureuser'

resource disk 'Microsoft.Compute/disks@2023-04-02' existing = {
  name: 'azready-base'
}

resource image 'Microsoft.Compute/images@2024-07-01' = {
  name: 'azready-image'
  location: location
  properties: {
    hyperVGeneration: 'V2'
    storageProfile: {
      osDisk: {
        osType: 'Linux'
        osState: 'Generalized'
        managedDisk: {
          id: disk.id
        }
      }
    }
  }
}

resource network 'Microsoft.Network/virtualNetworks@2023-11-01' = {
  name: 'azready-network'
  location: location
  properties: {
    addressSpace: {
      addressPrefixes: [
        '10.0.0.0/16'
      ]
    }
    subnets: [
      {
        name: 'default'
        properties: {
          addressPrefix: '10.0.0.0/24'
        }
      }
    ]
  }
}

resource nic 'Microsoft.Network/networkInterfaces@2023-11-01' = {
  name: 'web-1-nic'
  location: location
  properties: {
    ipConfigurations: [
      {
        name: 'first'
        properties: {
          privateIPAllocationMethod: 'Dynamic'
          subnet: {
            id: network.properties.subnets[0].id
          }
        }
      }
    ]
  }
}

resource vm 'Microsoft.Compute/virtualMachines@2024-07-01' = {
  name: 'web-1'
  location: location
  properties: {
    hardwareProfile: {
      vmSize: 'Standard_D2s_v5'
    }
    storageProfile: {
      imageReference: {
        id: image.id
      }
      osDisk: {
        createOption: 'FromImage'
      }
    }
    osProfile: {
      computerName: 'web-1'
      adminUsername: user
      // The image has no agent: Azure would wait for it with extensions.
      allowExtensionOperations: false
      linuxConfiguration: {
        provisionVMAgent: false
        disablePasswordAuthentication: true
        ssh: {
          publicKeys: [
            {
              path: '/home/${user}/.ssh/authorized_keys'
              keyData: sshKey
            }
          ]
        }
      }
    }
    networkProfile: {
      networkInterfaces: [
        {
          id: nic.id
        }
      ]
    }
    // The serial console, where azready's lines are.
    diagnosticsProfile: {
      bootDiagnostics: {
        enabled: true
      }
    }
  }
}
