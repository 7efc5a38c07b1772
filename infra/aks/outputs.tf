output "kubeconfig" {
  description = "Administrator's kubeconfig. It contains a client certificate, so keep it secret. tofu output -raw kubeconfig > ~/.kube/config"
  value       = azurerm_kubernetes_cluster.this.kube_config_raw
  sensitive   = true
}

output "kubeconfig_command" {
  description = "Command that writes the same kubeconfig without this state."
  value       = "az aks get-credentials --resource-group ${azurerm_resource_group.this.name} --name ${azurerm_kubernetes_cluster.this.name}"
}

output "oidc_issuer_url" {
  description = "OIDC issuer of the cluster's service accounts, for federated identities of pods."
  value       = azurerm_kubernetes_cluster.this.oidc_issuer_url
}

output "github_variables" {
  description = "Variables of the GitHub environment aks. None is a secret."
  value = {
    AKS_RESOURCE_GROUP    = azurerm_resource_group.this.name
    AKS_CLUSTER           = azurerm_kubernetes_cluster.this.name
    AZURE_CLIENT_ID       = one([for identity in azurerm_user_assigned_identity.deploy : identity.client_id])
    AZURE_TENANT_ID       = data.azurerm_client_config.this.tenant_id
    AZURE_SUBSCRIPTION_ID = var.subscription_id
  }
}
