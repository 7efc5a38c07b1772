# Three subnets. The Kubernetes API and the load balancer are public. The nodes are private and reach the internet through gateways.
locals {
  api_subnet           = cidrsubnet(var.network, 12, 0) # /28
  nodes_subnet         = cidrsubnet(var.network, 8, 10) # /24
  load_balancer_subnet = cidrsubnet(var.network, 8, 20)

  anywhere = "0.0.0.0/0"
  tcp      = "6"
  icmp     = "1"
  # Oracle's services (object storage, the registry, the cluster's control plane), reached without the internet.
  oracle = data.oci_core_services.all.services[0]

  # The rules that Oracle documents for flannel, a public API and private nodes: peer, protocol, ports ([] means all).
  rules = {
    api = {
      ingress = concat(
        [for range in var.api_clients : { peer = range, protocol = local.tcp, ports = [6443, 6443] }],
        [
          { peer = local.nodes_subnet, protocol = local.tcp, ports = [6443, 6443] },
          { peer = local.nodes_subnet, protocol = local.tcp, ports = [12250, 12250] },
          { peer = local.nodes_subnet, protocol = local.icmp, ports = [] },
        ],
      )
      egress = [
        { peer = local.oracle.cidr_block, protocol = local.tcp, ports = [443, 443] },
        { peer = local.nodes_subnet, protocol = local.tcp, ports = [] },
        { peer = local.nodes_subnet, protocol = local.icmp, ports = [] },
      ]
    }
    nodes = {
      ingress = [
        { peer = local.nodes_subnet, protocol = "all", ports = [] },
        { peer = local.api_subnet, protocol = local.tcp, ports = [] },
        { peer = local.load_balancer_subnet, protocol = local.tcp, ports = [30000, 32767] },
        { peer = local.load_balancer_subnet, protocol = local.tcp, ports = [10256, 10256] },
        { peer = local.anywhere, protocol = local.icmp, ports = [] },
      ]
      egress = [
        { peer = local.nodes_subnet, protocol = "all", ports = [] },
        { peer = local.anywhere, protocol = local.tcp, ports = [] },
        { peer = local.anywhere, protocol = local.icmp, ports = [] },
      ]
    }
    load-balancer = {
      ingress = [
        { peer = local.anywhere, protocol = local.tcp, ports = [80, 80] },
        { peer = local.anywhere, protocol = local.tcp, ports = [443, 443] },
      ]
      egress = [
        { peer = local.nodes_subnet, protocol = local.tcp, ports = [30000, 32767] },
        { peer = local.nodes_subnet, protocol = local.tcp, ports = [10256, 10256] },
      ]
    }
  }
}

data "oci_core_services" "all" {
  filter {
    name   = "name"
    values = ["All .* Services In Oracle Services Network"]
    regex  = true
  }
}

resource "oci_core_vcn" "this" {
  compartment_id = var.compartment_id
  display_name   = var.name
  cidr_blocks    = [var.network]
  dns_label      = "punctual"
}

resource "oci_core_internet_gateway" "this" {
  compartment_id = var.compartment_id
  vcn_id         = oci_core_vcn.this.id
  display_name   = "${var.name}-internet"
}

resource "oci_core_nat_gateway" "this" {
  compartment_id = var.compartment_id
  vcn_id         = oci_core_vcn.this.id
  display_name   = "${var.name}-nat"
}

resource "oci_core_service_gateway" "this" {
  compartment_id = var.compartment_id
  vcn_id         = oci_core_vcn.this.id
  display_name   = "${var.name}-oracle"

  services {
    service_id = local.oracle.id
  }
}

resource "oci_core_route_table" "public" {
  compartment_id = var.compartment_id
  vcn_id         = oci_core_vcn.this.id
  display_name   = "${var.name}-public"

  route_rules {
    destination       = local.anywhere
    destination_type  = "CIDR_BLOCK"
    network_entity_id = oci_core_internet_gateway.this.id
  }
}

resource "oci_core_route_table" "private" {
  compartment_id = var.compartment_id
  vcn_id         = oci_core_vcn.this.id
  display_name   = "${var.name}-private"

  route_rules {
    destination       = local.anywhere
    destination_type  = "CIDR_BLOCK"
    network_entity_id = oci_core_nat_gateway.this.id
  }
  route_rules {
    destination       = local.oracle.cidr_block
    destination_type  = "SERVICE_CIDR_BLOCK"
    network_entity_id = oci_core_service_gateway.this.id
  }
}

resource "oci_core_security_list" "this" {
  for_each = local.rules

  compartment_id = var.compartment_id
  vcn_id         = oci_core_vcn.this.id
  display_name   = "${var.name}-${each.key}"

  dynamic "ingress_security_rules" {
    for_each = each.value.ingress
    content {
      source   = ingress_security_rules.value.peer
      protocol = ingress_security_rules.value.protocol

      dynamic "tcp_options" {
        for_each = length(ingress_security_rules.value.ports) == 2 ? [ingress_security_rules.value.ports] : []
        content {
          min = tcp_options.value[0]
          max = tcp_options.value[1]
        }
      }
      # Allows only ICMP "fragmentation needed"; without it, path MTU discovery fails and large packets are lost.
      dynamic "icmp_options" {
        for_each = ingress_security_rules.value.protocol == local.icmp ? [{ type = 3, code = 4 }] : []
        content {
          type = icmp_options.value.type
          code = icmp_options.value.code
        }
      }
    }
  }

  dynamic "egress_security_rules" {
    for_each = each.value.egress
    content {
      destination      = egress_security_rules.value.peer
      destination_type = egress_security_rules.value.peer == local.oracle.cidr_block ? "SERVICE_CIDR_BLOCK" : "CIDR_BLOCK"
      protocol         = egress_security_rules.value.protocol

      dynamic "tcp_options" {
        for_each = length(egress_security_rules.value.ports) == 2 ? [egress_security_rules.value.ports] : []
        content {
          min = tcp_options.value[0]
          max = tcp_options.value[1]
        }
      }
      dynamic "icmp_options" {
        for_each = egress_security_rules.value.protocol == local.icmp ? [{ type = 3, code = 4 }] : []
        content {
          type = icmp_options.value.type
          code = icmp_options.value.code
        }
      }
    }
  }
}

resource "oci_core_subnet" "api" {
  compartment_id             = var.compartment_id
  vcn_id                     = oci_core_vcn.this.id
  display_name               = "${var.name}-api"
  dns_label                  = "api"
  cidr_block                 = local.api_subnet
  route_table_id             = oci_core_route_table.public.id
  security_list_ids          = [oci_core_security_list.this["api"].id]
  prohibit_public_ip_on_vnic = false
}

resource "oci_core_subnet" "nodes" {
  compartment_id             = var.compartment_id
  vcn_id                     = oci_core_vcn.this.id
  display_name               = "${var.name}-nodes"
  dns_label                  = "nodes"
  cidr_block                 = local.nodes_subnet
  route_table_id             = oci_core_route_table.private.id
  security_list_ids          = [oci_core_security_list.this["nodes"].id]
  prohibit_public_ip_on_vnic = true
}

resource "oci_core_subnet" "load_balancer" {
  compartment_id             = var.compartment_id
  vcn_id                     = oci_core_vcn.this.id
  display_name               = "${var.name}-load-balancer"
  dns_label                  = "lb"
  cidr_block                 = local.load_balancer_subnet
  route_table_id             = oci_core_route_table.public.id
  security_list_ids          = [oci_core_security_list.this["load-balancer"].id]
  prohibit_public_ip_on_vnic = false
}
