# Plans with a mock provider, and tests the planned resources and the rejected variables.
mock_provider "azurerm" {
  # The provider parses its own ids, so mocked ids must be valid.
  mock_resource "azurerm_subnet" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/punctual/providers/Microsoft.Network/virtualNetworks/punctual/subnets/nodes" }
  }
  mock_resource "azurerm_user_assigned_identity" {
    defaults = {
      id           = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/punctual/providers/Microsoft.ManagedIdentity/userAssignedIdentities/punctual"
      principal_id = "00000000-0000-0000-0000-000000000001"
      client_id    = "00000000-0000-0000-0000-000000000002"
    }
  }
  mock_resource "azurerm_kubernetes_cluster" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/punctual/providers/Microsoft.ContainerService/managedClusters/punctual" }
  }
}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000000"
}

run "pods_may_be_somebody_without_a_secret" {
  assert {
    condition     = azurerm_kubernetes_cluster.this.oidc_issuer_enabled && azurerm_kubernetes_cluster.this.workload_identity_enabled
    error_message = "Workload identity is off."
  }
}

run "network_policies_are_enforced" {
  assert {
    condition     = alltrue([for profile in azurerm_kubernetes_cluster.this.network_profile : profile.network_policy == "cilium" && profile.network_data_plane == "cilium"])
    error_message = "Nobody enforces the chart's NetworkPolicies."
  }
}

run "nobody_deploys_without_a_repository" {
  assert {
    condition     = length(azurerm_user_assigned_identity.deploy) == 0 && output.github_variables.AZURE_CLIENT_ID == null
    error_message = "There is an identity that nobody asked for."
  }
}

run "one_repository_deploys_from_one_environment" {
  variables {
    repository = "owner/punctual"
  }
  assert {
    condition     = azurerm_federated_identity_credential.deploy["owner/punctual"].subject == "repo:owner/punctual:environment:aks"
    error_message = "Another job could log in."
  }
  assert {
    condition     = azurerm_role_assignment.deploy["owner/punctual"].scope == azurerm_kubernetes_cluster.this.id
    error_message = "It may do something beyond its cluster."
  }
  assert {
    condition     = output.github_variables.AZURE_CLIENT_ID == "00000000-0000-0000-0000-000000000002"
    error_message = "The workflow would log in as somebody else."
  }
}

run "a_repository_whose_tokens_contain_ids_deploys" {
  variables {
    repository = "owner@123/punctual@456"
  }
  assert {
    condition     = azurerm_federated_identity_credential.deploy["owner@123/punctual@456"].subject == "repo:owner@123/punctual@456:environment:aks"
    error_message = "The job could not log in."
  }
}

run "half_an_id_is_refused" {
  command = plan
  variables {
    repository = "owner@123/punctual"
  }
  expect_failures = [var.repository]
}

run "nonsense_is_refused" {
  command = plan
  variables {
    subscription_id = "mine"
    network         = "10.0.0.0/24"
    repository      = "https://github.com/owner/punctual"
    nodes           = { count = 0 }
  }
  expect_failures = [var.subscription_id, var.network, var.repository, var.nodes]
}
