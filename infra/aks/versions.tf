# The fallback: a cluster on Azure, docs/clouds.md. The provider uses the login of `az`; no credential is in a file here.
terraform {
  required_version = ">= 1.9.0, < 2.0.0"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "5.10.0"
    }
  }
}

provider "azurerm" {
  subscription_id = var.subscription_id

  features {}
}
