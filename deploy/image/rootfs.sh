#!/bin/sh
# Lays out the image's root filesystem: the program, the shared libraries it was linked with (as ldd names
# them), MongoDB's driver, which it loads when asked to, certificates, data, licences, a user, an SBOM. No shell.
#
#   sh deploy/image/rootfs.sh PROGRAM FOLDER
#
# Run in the build stage (Dockerfile), with dpkg. WITH_MONGODB=false leaves the driver out. Every file gets
# the time SOURCE_DATE_EPOCH, so that two builds are the same bytes.
set -eu
program=$1
out=$2
epoch=${SOURCE_DATE_EPOCH:-0}
uid=10001

fail() {
    echo "rootfs: $*" >&2
    exit 1
}

# libraries PROGRAM: the files that it loads, the loader among them.
libraries() {
    ldd "$1" >"$out.ldd" || fail "ldd cannot read $1"
    ! grep 'not found' "$out.ldd" >&2 || fail "$1: a library is missing"
    awk '$2 == "=>" {print $3} $1 ~ /^\// {print $1}' "$out.ldd"
    rm "$out.ldd"
}

# The driver by the name that server/mongoc_library.c opens.
mongodb_driver() {
    ldconfig -p | awk '$1 == "libmongoc2.so.2" || $1 == "libmongoc-1.0.so.0" {print $NF; exit}'
}

# The package that a file came from, and its licence.
note_package() {
    package=$(dpkg -S "$1" 2>/dev/null || dpkg -S "/usr$1" 2>/dev/null || dpkg -S "${1#/usr}") || fail "no package has $1"
    package=$(echo "$package" | head -1 | sed 's/: .*//; s/:.*//')
    grep -qx "$package" "$out.packages" || echo "$package" >>"$out.packages"
}

# add_library FILE: under the name it is asked for by; alternatives and versions are resolved.
add_library() {
    real=$(readlink -f "$1")
    note_package "$real"
    case $1 in
    */ld-linux*) to=$1 ;; # where the program's header says
    *) to=$lib/$(basename "$1") ;;
    esac
    cp "$real" "$out$to"
    chmod 755 "$out$to"
}

[ ! -e "$out" ] || fail "$out exists"
lib=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || cc -print-multiarch)
mkdir -p "$out/usr/bin" "$out$lib" "$out/usr/lib64" "$out/etc/ssl/certs" "$out/usr/share/carepath" "$out/usr/share/doc/carepath"
ln -s usr/lib "$out/lib"
ln -s usr/lib64 "$out/lib64"
: >"$out.packages"

install -m 755 "$program" "$out/usr/bin/carepath"
for file in $(libraries "$program"); do
    add_library "$file"
done
if [ "${WITH_MONGODB:-true}" != false ]; then
    driver=$(mongodb_driver)
    [ -n "$driver" ] || fail "MongoDB's driver is not installed"
    for file in "$driver" $(libraries "$driver"); do
        add_library "$file"
    done
fi
cp /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"
echo ca-certificates >>"$out.packages"

# glibc itself asks for these three.
printf 'carepath:x:%d:%d:CarePath:/nonexistent:/nonexistent\n' $uid $uid >"$out/etc/passwd"
printf 'carepath:x:%d:\n' $uid >"$out/etc/group"
printf 'hosts: files dns\n' >"$out/etc/nsswitch.conf"

cp -R data "$out/usr/share/carepath/data"
rm -f "$out"/usr/share/carepath/data/*.py
cp LICENSE "$out/usr/share/doc/carepath/"
sort -u -o "$out.packages" "$out.packages"
while read -r package; do
    mkdir -p "$out/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$out/usr/share/doc/$package/"
done <"$out.packages"
SOURCE_DATE_EPOCH=$epoch sh deploy/image/sbom.sh "$out.packages" "$(cat VERSION)" "$out/usr/bin/carepath" \
    >"$out/usr/share/doc/carepath/sbom.spdx.json"
rm "$out.packages"

# What may be written, and only by volumes when the root is read-only: models, the audit log, /tmp.
mkdir -p "$out/models" "$out/var/lib/carepath" "$out/tmp" "$out/proc" "$out/sys" "$out/dev"
chmod -R u=rwX,go=rX "$out/etc" "$out/usr"
chmod 1777 "$out/tmp"
chown $uid:$uid "$out/models" "$out/var/lib/carepath"
chmod 750 "$out/var/lib/carepath"
find "$out" -exec touch -h -d "@$epoch" {} +
