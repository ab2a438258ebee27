variable "name" {
  type        = string
  description = "The cluster's name"
}

variable "subnet_ids" {
  type        = list(string)
  description = "Private subnets, in two zones or more"
}

variable "kubernetes_version" {
  type        = string
  description = "1.30 or later: deploy/k8s uses preStop's sleep, which older ones do not have"
  default     = "1.34"
}

variable "api_cidrs" {
  type        = list(string)
  description = "Networks that may reach the cluster's API from outside; none: only from within"
  default     = []
  validation {
    condition     = !contains(var.api_cidrs, "0.0.0.0/0")
    error_message = "The whole internet needs no access to the cluster's API."
  }
}

variable "node_instance_type" {
  type        = string
  description = "t3.medium (4B int4), t3.large (int8), t3.xlarge; Graviton: t4g.medium, t4g.large, t4g.xlarge"
  default     = "t3.medium"
  validation {
    condition     = can(regex("^[a-z]+[0-9]+[a-z-]*\\.[0-9]*[a-z]+$", var.node_instance_type))
    error_message = "Expected an instance type, for example t3.medium."
  }
}

variable "unlimited_credits" {
  type        = bool
  description = "t types: pay for processor time beyond the credits instead of slowing down"
  default     = false
}

variable "node_disk_gib" {
  type        = number
  description = "Disk of a node; images with a model in them need 10 more"
  default     = 30
}

variable "min_nodes" {
  type    = number
  default = 2
}

variable "max_nodes" {
  type    = number
  default = 4
}
