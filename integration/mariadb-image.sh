#!/bin/sh
# Makes the image that MySQL is tested on from Debian's mariadb-server, for
# machines that reach Debian's packages and no container registry. It needs
# root, debootstrap and a Docker engine: mariadb-image.sh NAME
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=mariadb-server bookworm "$root"
tar -C "$root" --exclude=./proc --exclude=./sys --exclude=./var/cache/apt --exclude=./var/lib/mysql -c . | docker import - "$1"
