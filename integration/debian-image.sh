#!/bin/sh
# Makes an image from Debian's packages, for machines that reach those and no
# container registry: debian-image.sh mariadb|golang NAME. It needs root,
# debootstrap and a Docker engine; golang takes the toolchain and the trusted
# authorities of this machine.
set -eu
case $1 in
mariadb) packages=mariadb-server ;;
golang) packages=ca-certificates ;;
*) echo "debian-image.sh mariadb|golang NAME" >&2 && exit 2 ;;
esac
root=$(mktemp -d)
archive=$(mktemp)
trap 'rm -rf "$root" "$archive"' EXIT
debootstrap --variant=minbase --include="$packages" bookworm "$root"
kind=$1
name=$2
set --
if [ "$kind" = golang ]; then
  mkdir -p "$root/usr/local/go"
  tar -C "$(go env GOROOT)" --exclude=./test -c . | tar -C "$root/usr/local/go" -x
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  set -- --change "ENV PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPROXY=$(go env GOPROXY)"
fi
# By a file: half an archive must not become an image.
tar -C "$root" --exclude=./proc --exclude=./sys --exclude=./var/cache/apt --exclude=./var/lib/mysql -cf "$archive" .
docker import "$@" "$archive" "$name"
