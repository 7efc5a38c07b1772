# A cluster on Azure, the fallback: docs/clouds.md. The provider uses the login of `az`; no file here contains credentials.
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
