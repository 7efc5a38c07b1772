# Written from versions.env by `cargo xtask manifests`.
variable "kubernetes_version" {
  default = "v1.35.2"
}
