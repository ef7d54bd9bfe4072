#!/bin/bash
# Corpus D: an image of three gzip layers (Debian's base, Python packages, an application) as two OCI layouts, v1 and v2:
# the base patched by Debian's own updates, the application upgraded. Needs root, debootstrap, umoci, and the corpora A
# and B in FOLDER. What Debian has updated differs from day to day, so the layouts are not the same bytes everywhere.
# usage: make-image.sh FOLDER
set -eu
out=$1 work=$1/image-roots made=$1/D.partial
packages=python3,python3-pip,openssl,curl,ca-certificates,git,perl,nginx-light,postgresql-client,libxml2,gnupg,vim-tiny
rm -rf "$work" "$made"; mkdir -p "$work" "$made"
clean() { rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/var/log/* "$1"/var/cache/apt/*.bin; }

debootstrap --variant=minbase --include=$packages bookworm "$work/root1"
clean "$work/root1"
cp -a "$work/root1" "$work/root2"
cp /etc/resolv.conf /etc/hosts "$work/root2/etc/"
rm -f "$work/root2/etc/apt/sources.list"
cp -r /etc/apt/sources.list* "$work/root2/etc/apt/"
cp -n /etc/apt/apt.conf.d/* "$work/root2/etc/apt/apt.conf.d/" || true
cp -a /etc/ssl/certs/ca-certificates.crt "$work/root2/etc/ssl/certs/"
chroot "$work/root2" apt-get update
DEBIAN_FRONTEND=noninteractive chroot "$work/root2" apt-get -y dist-upgrade
clean "$work/root2"

tar="tar --sort=name --numeric-owner --format=pax --pax-option=delete=atime,delete=ctime"
for v in 1 2; do
  $tar -C "$work/root$v" --exclude=./proc/* --exclude=./sys/* -cf "$work/base$v.tar" .
  mkdir -p "$work/app$v/srv/app"
  for name in django botocore plotly jupyterlab; do cp -a "$out/A/v$v/$name" "$work/app$v/srv/app/"; done
  $tar --owner=0 --group=0 --mtime=@173000000$v -C "$work/app$v" -cf "$work/app$v.tar" .
done
mkdir -p "$work/deps/usr/lib/python3/dist-packages"
for from in B/v1/numpy B/v1/scipy A/v1/pandas; do cp -a "$out/$from/." "$work/deps/usr/lib/python3/dist-packages/"; done
$tar --owner=0 --group=0 --mtime=@1730000000 -C "$work/deps" -cf "$work/deps.tar" .

for v in 1 2; do
  umoci init --layout "$made/v$v"
  umoci new --image "$made/v$v:app"
  for layer in base$v deps app$v; do umoci raw add-layer --image "$made/v$v:app" "$work/$layer.tar"; done
  umoci gc --layout "$made/v$v"
done
rm -rf "$work"
mv "$made" "$out/D"
