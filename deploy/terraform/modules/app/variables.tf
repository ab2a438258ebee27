variable "manifest" {
  type        = string
  description = "File that Kustomize rendered"
}
