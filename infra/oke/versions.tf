# A cluster on Oracle Cloud within the free allowance: docs/clouds.md. The provider reads ~/.oci/config; no file here contains credentials.
terraform {
  required_version = ">= 1.9.0, < 2.0.0"

  required_providers {
    oci = {
      source  = "oracle/oci"
      version = "7.19.0"
    }
  }
}

provider "oci" {
  region = var.region
}
