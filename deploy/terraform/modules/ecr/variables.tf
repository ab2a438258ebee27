variable "name" {
  type    = string
  default = "carepath-chat-api"
}

variable "keep" {
  type        = number
  description = "Images that are kept"
  default     = 30
}
