output "node_pool_id" {
  description = "OCID of the node pool, to replace its nodes after an upgrade."
  value       = oci_containerengine_node_pool.this.id
}

output "node_pool_cycling_details" {
  description = "How to replace the nodes: one at a time, without a second one meanwhile, which the free allowance does not cover. Oracle's default adds one first."
  value       = jsonencode({ isNodeCyclingEnabled = true, maximumSurge = "0", maximumUnavailable = "1" })
}

output "cluster_id" {
  description = "Value of the variable OKE_CLUSTER_ID in the GitHub environment oke."
  value       = oci_containerengine_cluster.this.id
}

output "kubeconfig" {
  description = "Kubeconfig without a secret: it runs `oci` for a token. tofu output -raw kubeconfig > ~/.kube/config"
  value       = data.oci_containerengine_cluster_kube_config.this.content
}

output "kubeconfig_command" {
  description = "Command that writes the same kubeconfig without this state."
  value       = "oci ce cluster create-kubeconfig --cluster-id ${oci_containerengine_cluster.this.id} --region ${var.region} --token-version 2.0.0 --kube-endpoint PUBLIC_ENDPOINT"
}

data "oci_containerengine_cluster_kube_config" "this" {
  cluster_id    = oci_containerengine_cluster.this.id
  endpoint      = "PUBLIC_ENDPOINT"
  token_version = "2.0.0"

  depends_on = [oci_containerengine_node_pool.this]
}
