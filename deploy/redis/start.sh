#!/bin/sh
# Start Redis with the users of users.acl, each with its password; nobody else can log in.
set -eu
umask 077

with_password() {
    digest=$(printf %s "$2" | sha256sum | cut -d ' ' -f 1)
    sed -n "s/^user $1 on /&#$digest /p" "$(dirname "$0")/users.acl"
}

acl=$(mktemp)
{
    echo "user default off"
    with_password weft-server "$SERVER_PASSWORD"
    with_password weft-worker "$WORKER_PASSWORD"
} >"$acl"
exec redis-server --aclfile "$acl" "$@"
