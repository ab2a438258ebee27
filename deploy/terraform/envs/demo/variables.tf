variable "region" {
  type        = string
  description = "AWS region"
}

variable "node_instance_type" {
  type    = string
  default = "t3.medium"
}

variable "unlimited_credits" {
  type    = bool
  default = false
}

variable "api_cidrs" {
  type        = list(string)
  description = "Networks of the operators"
}

variable "min_nodes" {
  type    = number
  default = 2
}

variable "max_nodes" {
  type    = number
  default = 4
}

variable "model_cache" {
  type    = string
  default = "efs"
}

variable "deploy_app" {
  type        = bool
  description = "The second step: secrets and the app, in a cluster that is there"
  default     = false
}

variable "secrets_revision" {
  type    = number
  default = 1
}
