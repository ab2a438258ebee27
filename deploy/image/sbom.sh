#!/bin/sh
# The image's bill of materials, SPDX 2.3 as JSON: the program and the Debian packages whose files it has.
#
#   sh deploy/image/sbom.sh PACKAGES VERSION PROGRAM      (PACKAGES: a file, one name a line)
#
# Versions and sources come from dpkg. The time is SOURCE_DATE_EPOCH, the same input gives the same bytes.
set -eu
packages=$1
version=$2
created=$(date -u -d "@${SOURCE_DATE_EPOCH:-0}" +%Y-%m-%dT%H:%M:%SZ)
program=$(sha256sum "$3" | cut -d' ' -f1)
# The distribution belongs into a package URL: same name, other bytes elsewhere.
distro=$(. /etc/os-release && echo "$ID-${VERSION_ID:-unstable}")

text() { # a JSON string; control characters do not occur in dpkg's fields
    printf '"%s"' "$(printf %s "$1" | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

id() { # letters, digits, dot and hyphen only
    printf 'SPDXRef-Package-%s' "$(printf %s "$1" | sed 's/[^A-Za-z0-9.-]/-/g')"
}

# A package URL's version keeps letters, digits, . - _ and ~.
url_part() {
    printf %s "$1" | sed 's/%/%25/g; s/+/%2B/g; s/:/%3A/g'
}

cat <<JSON
{
  "spdxVersion": "SPDX-2.3",
  "dataLicense": "CC0-1.0",
  "SPDXID": "SPDXRef-DOCUMENT",
  "name": "carepath-$version",
  "documentNamespace": "urn:carepath:sbom:$program",
  "creationInfo": {"created": "$created", "creators": ["Tool: deploy/image/sbom.sh"]},
  "packages": [
    {
      "SPDXID": "SPDXRef-Package-carepath", "name": "carepath", "versionInfo": "$version",
      "downloadLocation": "NOASSERTION", "filesAnalyzed": false, "primaryPackagePurpose": "APPLICATION",
      "licenseConcluded": "Apache-2.0", "licenseDeclared": "Apache-2.0", "copyrightText": "NOASSERTION",
      "checksums": [{"algorithm": "SHA256", "checksumValue": "$program"}]
    }
JSON
while read -r name; do
    v=$(dpkg-query -W -f '${Version}' "$name")
    source=$(dpkg-query -W -f '${source:Package} ${source:Version}' "$name")
    arch=$(dpkg-query -W -f '${Architecture}' "$name")
    printf '    ,{\n      "SPDXID": "%s", "name": %s, "versionInfo": %s,\n' "$(id "$name")" "$(text "$name")" "$(text "$v")"
    printf '      "downloadLocation": "NOASSERTION", "filesAnalyzed": false, "primaryPackagePurpose": "LIBRARY",\n'
    printf '      "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",\n'
    printf '      "sourceInfo": %s,\n' "$(text "built from $source; licence: /usr/share/doc/$name/copyright")"
    printf '      "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",\n'
    printf '                        "referenceLocator": "pkg:deb/debian/%s@%s?arch=%s&distro=%s"}]\n    }\n' \
        "$(url_part "$name")" "$(url_part "$v")" "$arch" "$distro"
done <"$packages"
printf '  ],\n  "relationships": [\n'
printf '    {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-Package-carepath"}\n'
while read -r name; do
    printf '    ,{"spdxElementId": "SPDXRef-Package-carepath", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": "%s"}\n' \
        "$(id "$name")"
done <"$packages"
printf '  ]\n}\n'
