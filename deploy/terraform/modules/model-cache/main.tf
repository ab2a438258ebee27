# Where models lie, as the storage class "carepath-models" that deploy/k8s asks for. "efs": one copy for all
# pods, in all zones. "ebs": faster, for one node alone (ReadWriteOnce).

terraform {
  required_providers {
    aws        = { source = "hashicorp/aws", version = "~> 6.0" }
    kubernetes = { source = "hashicorp/kubernetes", version = "~> 2.38" }
  }
}

locals {
  efs    = var.kind == "efs" ? 1 : 0
  driver = var.kind == "efs" ? "efs" : "ebs"
  policy = var.kind == "efs" ? "AmazonEFSCSIDriverPolicy" : "AmazonEBSCSIDriverPolicy"
}

# ---- the driver ---------------------------------------------------------------------------------------

data "aws_iam_policy_document" "driver" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]
    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "driver" {
  name_prefix        = "${var.cluster_name}-csi-"
  assume_role_policy = data.aws_iam_policy_document.driver.json
}

resource "aws_iam_role_policy_attachment" "driver" {
  role       = aws_iam_role.driver.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/${local.policy}"
}

resource "aws_eks_addon" "driver" {
  cluster_name = var.cluster_name
  addon_name   = "aws-${local.driver}-csi-driver"

  pod_identity_association {
    role_arn        = aws_iam_role.driver.arn
    service_account = "${local.driver}-csi-controller-sa"
  }
}

# ---- EFS ----------------------------------------------------------------------------------------------

resource "aws_efs_file_system" "models" {
  count           = local.efs
  encrypted       = true
  throughput_mode = "elastic"
  tags            = { Name = "${var.cluster_name}-models" }
}

resource "aws_security_group" "efs" {
  count       = local.efs
  name_prefix = "${var.cluster_name}-efs-"
  description = "NFS from the nodes"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "efs" {
  count                        = local.efs
  security_group_id            = aws_security_group.efs[0].id
  referenced_security_group_id = var.node_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}

resource "aws_efs_mount_target" "models" {
  count           = local.efs * var.zones
  file_system_id  = aws_efs_file_system.models[0].id
  subnet_id       = var.subnet_ids[count.index]
  security_groups = [aws_security_group.efs[0].id]
}

# ---- the class ----------------------------------------------------------------------------------------

resource "kubernetes_storage_class_v1" "models" {
  metadata {
    name = "carepath-models"
  }
  storage_provisioner = "${local.driver}.csi.aws.com"
  reclaim_policy      = "Retain"
  volume_binding_mode = var.kind == "efs" ? "Immediate" : "WaitForFirstConsumer"
  # An access point a volume, owned by the image's user.
  parameters = var.kind == "efs" ? {
    provisioningMode = "efs-ap"
    fileSystemId     = aws_efs_file_system.models[0].id
    directoryPerms   = "750"
    uid              = "10001"
    gid              = "10001"
    } : {
    type      = "gp3"
    encrypted = "true"
  }
  depends_on = [aws_eks_addon.driver, aws_efs_mount_target.models]
}
