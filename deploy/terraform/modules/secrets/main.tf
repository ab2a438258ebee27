# Secrets Manager's secrets as the Kubernetes secrets that deploy/k8s refers to. Their values are written by
# hand or by a pipeline (docs/deployment.md), never by Terraform, and pass through it without being kept: they
# are read as ephemeral values and written by write-only arguments, so no state file has them.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws        = { source = "hashicorp/aws", version = "~> 6.0" }
    kubernetes = { source = "hashicorp/kubernetes", version = "~> 2.38" }
  }
}

locals {
  # Kubernetes secret -> the keys of its JSON in Secrets Manager.
  secrets = {
    chat-api         = ["api-keys.json", "secret-key"]
    chat-api-metrics = ["api-key"]
    chat-api-stores  = ["mongo-uri", "db-api-key", "pinecone-api-key"]
    chat-api-hub     = ["token"]
  }
}

resource "aws_secretsmanager_secret" "main" {
  for_each                = local.secrets
  name                    = "${var.name}/${each.key}"
  description             = "JSON with ${join(", ", each.value)}"
  recovery_window_in_days = 7
}

ephemeral "aws_secretsmanager_secret_version" "main" {
  for_each  = var.copy ? local.secrets : {}
  secret_id = aws_secretsmanager_secret.main[each.key].id
}

resource "kubernetes_secret_v1" "main" {
  for_each = var.copy ? local.secrets : {}
  metadata {
    name      = each.key
    namespace = var.namespace
  }
  data_wo          = jsondecode(ephemeral.aws_secretsmanager_secret_version.main[each.key].secret_string)
  data_wo_revision = var.revision
}
