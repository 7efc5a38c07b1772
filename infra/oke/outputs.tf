output "cluster_id" {
  description = "The variable OKE_CLUSTER_ID of the GitHub environment oke."
  value       = oci_containerengine_cluster.this.id
}

output "kubeconfig" {
  description = "No secret is in it: it calls `oci` for a token. tofu output -raw kubeconfig > ~/.kube/config"
  value       = data.oci_containerengine_cluster_kube_config.this.content
}

output "kubeconfig_command" {
  description = "Writes the same without this state."
  value       = "oci ce cluster create-kubeconfig --cluster-id ${oci_containerengine_cluster.this.id} --region ${var.region} --token-version 2.0.0 --kube-endpoint PUBLIC_ENDPOINT"
}

data "oci_containerengine_cluster_kube_config" "this" {
  cluster_id    = oci_containerengine_cluster.this.id
  endpoint      = "PUBLIC_ENDPOINT"
  token_version = "2.0.0"

  depends_on = [oci_containerengine_node_pool.this]
}
