variable "name" {
  type        = string
  description = "Prefix of names"
}

variable "cidr" {
  type        = string
  description = "Addresses of the network, a /16"
  default     = "10.20.0.0/16"
}

variable "zones" {
  type        = number
  description = "Availability zones, 2 or 3"
  default     = 2
  validation {
    condition     = var.zones >= 2 && var.zones <= 3
    error_message = "A cluster needs 2 or 3 zones."
  }
}

variable "one_way_out" {
  type        = bool
  description = "One NAT gateway for all zones: cheaper, and gone with its zone"
  default     = true
}
