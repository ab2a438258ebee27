output "region" {
  value = var.region
}

output "cluster_name" {
  value = module.eks.cluster_name
}

output "chat_api_repo_url" {
  value = module.ecr.repository_url
}

output "node_arch" {
  value = module.eks.node_arch
}

output "secrets" {
  description = "To be filled in Secrets Manager before the second step"
  value       = module.secrets.names
}
