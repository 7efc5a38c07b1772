# Plans with a mock provider, and tests the planned resources and the rejected variables.
mock_provider "oci" {
  override_data {
    target = data.oci_core_services.all
    values = { services = [{ id = "ocid1.service.oc1..all", cidr_block = "all-fra-services-in-oracle-services-network", name = "All FRA Services In Oracle Services Network", description = "" }] }
  }
  override_data {
    target = data.oci_identity_availability_domains.all
    values = { availability_domains = [
      { name = "AD-1", id = "1", compartment_id = "" },
      { name = "AD-2", id = "2", compartment_id = "" },
    ] }
  }
  override_data {
    target = data.oci_containerengine_cluster_option.all
    values = { kubernetes_versions = ["v1.33.1", "v1.34.2"] }
  }
  override_data {
    target = data.oci_containerengine_node_pool_option.this
    values = { sources = [
      { source_type = "IMAGE", image_id = "amd64", source_name = "Oracle-Linux-8.10-x86_64-2026.03.31-0-OKE-1.34.2-1400" },
      { source_type = "IMAGE", image_id = "older", source_name = "Oracle-Linux-8.10-aarch64-2026.01.31-0-OKE-1.34.2-1300" },
      { source_type = "IMAGE", image_id = "newest", source_name = "Oracle-Linux-8.10-aarch64-2026.02.28-0-OKE-1.34.2-1350" },
      { source_type = "IMAGE", image_id = "other version", source_name = "Oracle-Linux-8.10-aarch64-2026.03.31-0-OKE-1.33.1-1400" },
    ] }
  }
}

variables {
  region             = "eu-frankfurt-1"
  compartment_id     = "ocid1.compartment.oc1..aaaa"
  kubernetes_version = "v1.34.2"
}

run "the_default_is_free_and_arm64" {
  assert {
    condition     = oci_containerengine_cluster.this.type == "BASIC_CLUSTER"
    error_message = "The control plane would cost something."
  }
  assert {
    condition     = oci_containerengine_node_pool.this.node_shape == "VM.Standard.A1.Flex"
    error_message = "Another shape is not free."
  }
  assert {
    condition     = oci_containerengine_node_pool.this.node_source_details[0].image_id == "newest"
    error_message = "The node's image is not the newest one for arm64 and this version."
  }
  assert {
    condition     = length(oci_containerengine_node_pool.this.node_config_details[0].placement_configs) == 2
    error_message = "Nodes may not be in every availability domain."
  }
}

run "a_drain_ends" {
  assert {
    condition     = one(oci_containerengine_node_pool.this.node_eviction_node_pool_settings).is_force_delete_after_grace_duration && one(oci_containerengine_node_pool.this.node_eviction_node_pool_settings).eviction_grace_duration == "PT10M"
    error_message = "A budget could hold the replacement of a node forever."
  }
}

run "replacing_a_node_fits_the_allowance" {
  assert {
    condition = (
      oci_containerengine_node_pool.this.node_config_details[0].size + tonumber(jsondecode(output.node_pool_cycling_details).maximumSurge)
    ) * oci_containerengine_node_pool.this.node_shape_config[0].ocpus <= 2
    error_message = "While a node is replaced, there is a second one that costs something."
  }
  assert {
    condition     = tonumber(jsondecode(output.node_pool_cycling_details).maximumUnavailable) >= 1
    error_message = "Without a second node, no node could be replaced."
  }
}

run "another_version_brings_its_image" {
  variables {
    kubernetes_version = "v1.33.1"
  }
  assert {
    condition     = oci_containerengine_node_pool.this.node_source_details[0].image_id == "other version"
    error_message = "The nodes would stay at the version before."
  }
}

run "nodes_are_not_reached_from_outside" {
  assert {
    condition     = oci_core_subnet.nodes.prohibit_public_ip_on_vnic
    error_message = "Nodes may have public addresses."
  }
  assert {
    condition = alltrue([
      for rule in oci_core_security_list.this["nodes"].ingress_security_rules :
      rule.protocol == "1" if rule.source == "0.0.0.0/0"
    ])
    error_message = "Anybody reaches the nodes by more than ICMP."
  }
  assert {
    condition = toset([
      for rule in oci_core_security_list.this["load-balancer"].ingress_security_rules : rule.tcp_options[0].min
    ]) == toset([80, 443])
    error_message = "The load balancer takes other ports than 80 and 443."
  }
}

run "the_api_is_for_whom_it_is_said_to_be" {
  variables {
    api_clients = ["203.0.113.7/32"]
  }
  assert {
    condition = toset([
      for rule in oci_core_security_list.this["api"].ingress_security_rules : rule.source
    ]) == toset(["203.0.113.7/32", "10.0.10.0/24"])
    error_message = "Others than the nodes and that client reach the API."
  }
}

run "more_than_the_allowance_is_told" {
  command = plan
  variables {
    nodes = { count = 3 }
  }
  expect_failures = [check.free]
}

run "a_version_that_is_not_offered_is_refused" {
  command = plan
  variables {
    kubernetes_version = "v1.30.1"
  }
  expect_failures = [oci_containerengine_cluster.this]
}

run "nonsense_is_refused" {
  command = plan
  variables {
    compartment_id = "punctual"
    network        = "10.244.0.0/16"
    api_clients    = ["anybody"]
    nodes          = { boot_volume = 10 }
  }
  expect_failures = [var.compartment_id, var.network, var.api_clients, var.nodes]
}
