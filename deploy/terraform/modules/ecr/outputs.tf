output "repository_url" {
  value = aws_ecr_repository.chat_api.repository_url
}
