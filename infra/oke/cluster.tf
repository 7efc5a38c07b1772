locals {
  # The free shape, which is arm64. All images (ours, Knative's, Dapr's and Redpanda's) support arm64.
  shape = "VM.Standard.A1.Flex"

  # A name looks like Oracle-Linux-8.10-aarch64-DATE-0-OKE-1.2.3-1234, so the last in sorted order is the newest. A newer image
  # applies only to new nodes: no plan replaces a running node.
  images = {
    for source in data.oci_containerengine_node_pool_option.this.sources : source.source_name => source.image_id
    if can(regex("^Oracle-Linux-8.*-aarch64-.*-OKE-${trimprefix(var.kubernetes_version, "v")}-", source.source_name))
  }
}

data "oci_identity_availability_domains" "all" {
  compartment_id = var.compartment_id
}

data "oci_containerengine_cluster_option" "all" {
  cluster_option_id = "all"
}

data "oci_containerengine_node_pool_option" "this" {
  node_pool_option_id = oci_containerengine_cluster.this.id
}

resource "oci_containerengine_cluster" "this" {
  compartment_id     = var.compartment_id
  name               = var.name
  vcn_id             = oci_core_vcn.this.id
  kubernetes_version = var.kubernetes_version
  type               = "BASIC_CLUSTER" # free control plane

  cluster_pod_network_options {
    cni_type = "FLANNEL_OVERLAY"
  }
  endpoint_config {
    is_public_ip_enabled = true
    subnet_id            = oci_core_subnet.api.id
  }
  options {
    service_lb_subnet_ids = [oci_core_subnet.load_balancer.id]
    kubernetes_network_config {
      pods_cidr     = "10.244.0.0/16"
      services_cidr = "10.96.0.0/16"
    }
  }

  lifecycle {
    precondition {
      condition     = contains(data.oci_containerengine_cluster_option.all.kubernetes_versions, var.kubernetes_version)
      error_message = "kubernetes_version is none of ${join(", ", data.oci_containerengine_cluster_option.all.kubernetes_versions)}."
    }
  }
}

resource "oci_containerengine_node_pool" "this" {
  compartment_id     = var.compartment_id
  cluster_id         = oci_containerengine_cluster.this.id
  name               = var.name
  kubernetes_version = var.kubernetes_version
  node_shape         = local.shape

  node_shape_config {
    ocpus         = var.nodes.cores
    memory_in_gbs = var.nodes.memory
  }
  node_source_details {
    source_type             = "IMAGE"
    image_id                = local.images[reverse(sort(keys(local.images)))[0]]
    boot_volume_size_in_gbs = var.nodes.boot_volume
  }
  # Replacing the only node evicts pods that nothing can replace before it is gone. A budget that forbids this holds the drain at most so long.
  node_eviction_node_pool_settings {
    eviction_grace_duration              = "PT10M"
    is_force_delete_after_grace_duration = true
  }
  node_config_details {
    size = var.nodes.count

    # One per availability domain. If the free shape is out of capacity in one, OKE tries the next.
    dynamic "placement_configs" {
      for_each = data.oci_identity_availability_domains.all.availability_domains
      content {
        availability_domain = placement_configs.value.name
        subnet_id           = oci_core_subnet.nodes.id
      }
    }
  }

  lifecycle {
    precondition {
      condition     = length(local.images) > 0
      error_message = "There is no arm64 image of Oracle Linux 8 for ${var.kubernetes_version}."
    }
  }
}

# A check only warns: paid accounts may use more.
check "free" {
  assert {
    condition     = var.nodes.count * var.nodes.cores <= 2 && var.nodes.count * var.nodes.memory <= 12
    error_message = "More than 2 cores or 12 GB of VM.Standard.A1.Flex: the free allowance (since June 2026) does not cover that."
  }
  assert {
    # Each of Dapr's three schedulers has a volume, and the minimum size of a volume is 50 GB.
    condition     = var.nodes.count * var.nodes.boot_volume + 3 * 50 <= 200
    error_message = "More than 200 GB of volumes, Dapr's schedulers counted: the free allowance does not cover that."
  }
}
