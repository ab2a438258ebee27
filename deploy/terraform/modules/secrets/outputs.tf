output "names" {
  description = "In Secrets Manager, to be filled"
  value       = { for name, secret in aws_secretsmanager_secret.main : name => secret.name }
}
