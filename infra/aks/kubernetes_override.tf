# Written from versions.env by `cargo xtask manifests`.
variable "kubernetes_version" {
  default = "1.35"
}
