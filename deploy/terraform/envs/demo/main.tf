# The demo cluster: everything in one account and region. Two steps: first without `deploy_app`, since the
# cluster must be there before its objects can be planned; then with it (docs/deployment.md).

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws        = { source = "hashicorp/aws", version = "~> 6.0" }
    kubernetes = { source = "hashicorp/kubernetes", version = "~> 2.38" }
  }

  # Bucket, key and region come from backend.hcl (backend.hcl.example), which is not committed.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = "carepath", environment = "demo" }
  }
}

provider "kubernetes" {
  host                   = module.eks.endpoint
  cluster_ca_certificate = base64decode(module.eks.certificate_authority)
  exec {
    api_version = "client.authentication.k8s.io/v1beta1"
    command     = "aws"
    args        = ["eks", "get-token", "--region", var.region, "--cluster-name", module.eks.cluster_name]
  }
}

locals {
  name      = "carepath-demo"
  namespace = "carepath-demo"
  zones     = 2
}

module "vpc" {
  source = "../../modules/vpc"
  name   = local.name
  zones  = local.zones
}

module "ecr" {
  source = "../../modules/ecr"
}

module "eks" {
  source             = "../../modules/eks"
  name               = local.name
  subnet_ids         = module.vpc.private_subnet_ids
  node_instance_type = var.node_instance_type
  unlimited_credits  = var.unlimited_credits
  api_cidrs          = var.api_cidrs
  min_nodes          = var.min_nodes
  max_nodes          = var.max_nodes
}

module "model_cache" {
  source                 = "../../modules/model-cache"
  cluster_name           = module.eks.cluster_name
  kind                   = var.model_cache
  vpc_id                 = module.vpc.vpc_id
  subnet_ids             = module.vpc.private_subnet_ids
  zones                  = local.zones
  node_security_group_id = module.eks.security_group_id
}

resource "kubernetes_namespace_v1" "demo" {
  metadata {
    name = local.namespace
    labels = {
      "pod-security.kubernetes.io/enforce" = "restricted"
      "pod-security.kubernetes.io/warn"    = "restricted"
    }
  }
  depends_on = [module.eks]
}

module "secrets" {
  source    = "../../modules/secrets"
  name      = local.name
  namespace = kubernetes_namespace_v1.demo.metadata[0].name
  copy      = var.deploy_app
  revision  = var.secrets_revision
}

module "app" {
  count      = var.deploy_app ? 1 : 0
  source     = "../../modules/app"
  manifest   = "${path.module}/rendered.yaml"
  depends_on = [module.secrets, module.model_cache]
}
