variable "subscription_id" {
  description = "Azure subscription to use. Show yours: az account show --query id."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.subscription_id))
    error_message = "A UUID in small letters."
  }
}

variable "location" {
  description = "Azure location. List locations: az account list-locations."
  type        = string
  default     = "westeurope"

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "A location looks like westeurope."
  }
}

variable "name" {
  description = "Name of the cluster and its resource group, and prefix of all other names."
  type        = string
  default     = "punctual"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,29}$", var.name))
    error_message = "Up to 30 small letters, digits and hyphens, a letter first."
  }
}

variable "kubernetes_version" {
  description = "Kubernetes minor version. Azure installs its newest patch and keeps it updated. List versions: az aks get-versions."
  type        = string

  validation {
    condition     = can(regex("^1\\.[0-9]+$", var.kubernetes_version))
    error_message = "A version looks like 1.2."
  }
}

variable "nodes" {
  description = "Number of nodes and their VM size. The images support amd64 and arm64."
  type = object({
    count = optional(number, 2)
    size  = optional(string, "Standard_D2as_v5")
  })
  default = {}

  validation {
    condition     = var.nodes.count >= 1 && var.nodes.count <= 20 && floor(var.nodes.count) == var.nodes.count
    error_message = "Between 1 and 20 nodes."
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
  description = "CIDR blocks that may connect to the Kubernetes API, which also requires credentials; empty allows all. GitHub's runners have no fixed addresses."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for range in var.api_clients : can(cidrhost(range, 0))])
    error_message = "Ranges of addresses, as 203.0.113.7/32."
  }
}

variable "repository" {
  description = "GitHub repository whose environment aks may deploy, as its tokens name it: owner/name, or owner@ID/name@ID; empty for none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9-]+/[A-Za-z0-9._-]+|[A-Za-z0-9-]+@[0-9]+/[A-Za-z0-9._-]+@[0-9]+)?$", var.repository))
    error_message = "A repository looks like owner/name or owner@123/name@456."
  }
}
