variable "name" {
  type        = string
  description = "Prefix in Secrets Manager"
}

variable "namespace" {
  type = string
}

variable "copy" {
  type        = bool
  description = "Write them into the cluster; false until each has a value in Secrets Manager"
  default     = false
}

variable "revision" {
  type        = number
  description = "Raise it after a value was changed"
  default     = 1
}
