# The app: what Kustomize rendered (deploy/tools/deploy.sh writes the file before it plans), object by object.

terraform {
  required_providers {
    kubernetes = { source = "hashicorp/kubernetes", version = "~> 2.38" }
  }
}

locals {
  documents = [for text in split("\n---\n", file(var.manifest)) : yamldecode(text)]
  # The namespace comes first and from elsewhere: secrets are in it before pods are.
  objects = { for d in local.documents : "${d.kind}/${d.metadata.name}" => d if d.kind != "Namespace" }
}

resource "kubernetes_manifest" "main" {
  for_each = local.objects
  manifest = each.value

  # The autoscaler's.
  computed_fields = ["metadata.annotations", "spec.replicas"]

  field_manager {
    name            = "carepath"
    force_conflicts = true
  }
}
