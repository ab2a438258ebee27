output "cluster_name" {
  value = aws_eks_cluster.main.name
}

output "endpoint" {
  value = aws_eks_cluster.main.endpoint
}

output "certificate_authority" {
  value = aws_eks_cluster.main.certificate_authority[0].data
}

output "security_group_id" {
  description = "Of the nodes and the control plane"
  value       = aws_eks_cluster.main.vpc_config[0].cluster_security_group_id
}

output "node_arch" {
  description = "What the image must be built for"
  value       = local.arm ? "arm64" : "amd64"
}

output "nodes" {
  description = "Depend on this for things that run in the cluster"
  value       = aws_eks_node_group.main.id
}
