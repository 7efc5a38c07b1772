# The identity of deploy-cloud.yaml. It logs in with the OIDC token that GitHub issues to a job of the environment `aks`, without a secret.
# In the tokens of repositories made since July 2026, the subject contains ids: a later owner of the same name cannot log in.
locals {
  deploy = var.repository == "" ? [] : [var.repository]
}

data "azurerm_client_config" "this" {}

resource "azurerm_user_assigned_identity" "deploy" {
  for_each = toset(local.deploy)

  name                = "${var.name}-deploy"
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
}

resource "azurerm_federated_identity_credential" "deploy" {
  for_each = toset(local.deploy)

  name                      = "github"
  user_assigned_identity_id = azurerm_user_assigned_identity.deploy[each.key].id
  issuer                    = "https://token.actions.githubusercontent.com"
  subject                   = "repo:${each.key}:environment:aks"
  audience                  = ["api://AzureADTokenExchange"]
}

# Its only permission in Azure is to fetch the kubeconfig of this cluster.
resource "azurerm_role_assignment" "deploy" {
  for_each = toset(local.deploy)

  scope                = azurerm_kubernetes_cluster.this.id
  role_definition_name = "Azure Kubernetes Service Cluster User Role"
  principal_id         = azurerm_user_assigned_identity.deploy[each.key].principal_id
  principal_type       = "ServicePrincipal"
}
