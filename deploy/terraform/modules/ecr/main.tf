# The registry of the image. Tags cannot be moved, so what a rollback names is what ran.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 6.0" }
  }
}

resource "aws_ecr_repository" "chat_api" {
  name                 = var.name
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
  }
}

resource "aws_ecr_lifecycle_policy" "chat_api" {
  repository = aws_ecr_repository.chat_api.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Old images, but not the ones a rollback may need"
      selection = {
        tagStatus   = "any"
        countType   = "imageCountMoreThan"
        countNumber = var.keep
      }
      action = { type = "expire" }
    }]
  })
}
