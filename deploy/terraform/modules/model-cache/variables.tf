variable "cluster_name" {
  type = string
}

variable "kind" {
  type    = string
  default = "efs"
  validation {
    condition     = contains(["efs", "ebs"], var.kind)
    error_message = "Expected efs or ebs."
  }
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  type = list(string)
}

variable "zones" {
  type        = number
  description = "How many subnet_ids there are, known before they are"
}

variable "node_security_group_id" {
  type = string
}
