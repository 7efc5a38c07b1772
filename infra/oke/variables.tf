variable "region" {
  description = "The tenancy's home region. The free allowance applies only there."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z0-9]+-[0-9]+$", var.region))
    error_message = "A region looks like eu-frankfurt-1."
  }
}

variable "compartment_id" {
  description = "OCID of the compartment for all resources. For the root compartment, use the tenancy's OCID."
  type        = string

  validation {
    condition     = can(regex("^ocid1\\.(compartment|tenancy)\\.", var.compartment_id))
    error_message = "It begins with ocid1.compartment. or ocid1.tenancy. (oci iam compartment list)."
  }
}

variable "name" {
  description = "Name of the cluster, and prefix of all other names."
  type        = string
  default     = "punctual"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,29}$", var.name))
    error_message = "Up to 30 small letters, digits and hyphens, a letter first."
  }
}

variable "kubernetes_version" {
  description = "Kubernetes version of the control plane and the nodes. List versions: oci ce cluster-options get --cluster-option-id all."
  type        = string

  validation {
    condition     = can(regex("^v1\\.[0-9]+\\.[0-9]+$", var.kubernetes_version))
    error_message = "A version looks like v1.2.3."
  }
}

variable "nodes" {
  description = "Number of nodes, and per node the cores, memory in GB and boot volume in GB. The free allowance is 2 cores, 12 GB of memory and 200 GB of volumes."
  type = object({
    count       = optional(number, 1)
    cores       = optional(number, 2)
    memory      = optional(number, 12)
    boot_volume = optional(number, 50)
  })
  default = {}

  validation {
    condition     = var.nodes.count >= 1 && var.nodes.count <= 20 && floor(var.nodes.count) == var.nodes.count
    error_message = "Between 1 and 20 nodes."
  }
  validation {
    condition     = var.nodes.cores >= 1 && var.nodes.memory >= 6 && var.nodes.memory <= 64 * var.nodes.cores
    error_message = "A node has a core or more, and between 6 GB and 64 GB a core."
  }
  validation {
    condition     = var.nodes.boot_volume >= 50
    error_message = "A boot volume has 50 GB or more."
  }
}

variable "network" {
  description = "CIDR block of the network: a /16 that overlaps neither 10.244.0.0/16 (pods) nor 10.96.0.0/16 (Services)."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrhost(var.network, 0)) && endswith(var.network, "/16")
    error_message = "A /16, as 10.0.0.0/16."
  }
  validation {
    condition     = !contains(["10.244.0.0/16", "10.96.0.0/16"], var.network)
    error_message = "Pods and Services have these addresses."
  }
}

variable "api_clients" {
  description = "CIDR blocks that may connect to the Kubernetes API, which also requires credentials. GitHub's runners have no fixed addresses."
  type        = set(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.api_clients) > 0 && alltrue([for range in var.api_clients : can(cidrhost(range, 0))])
    error_message = "Ranges of addresses, as 203.0.113.7/32."
  }
}
