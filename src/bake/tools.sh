# Installs git, or git and compilers, from the distribution of a base image, where it lacks them. The argument: `git` or
# `compilers`.
set -eu
home=/opt/berth
. "$home/tmp/env"
want=$1
[ "$want" = compilers ] || ! command -v git >/dev/null 2>&1 || want=nothing
rm_all() { rm -rf "$home"; }
if [ "$want" = nothing ]; then
    rm_all
elif command -v apt-get >/dev/null 2>&1; then
    set -- git ca-certificates
    if [ "$want" = compilers ]; then
        set -- "$@" g++ make pkg-config python3
        # The headers of the distribution's own Python and Node.
        [ ! -e /usr/bin/python3 ] || set -- "$@" python3-dev
        [ ! -e /usr/share/nodejs ] || set -- "$@" libnode-dev
    fi
    # The installation has no user to change to: its capabilities are few.
    apt() {
        apt-get -q -y -o APT::Sandbox::User=root -o Acquire::Retries=2 -o Acquire::http::Timeout=20 \
            ${SSL_CERT_FILE:+-o Acquire::https::CaInfo="$SSL_CERT_FILE"} "$@"
    }
    export DEBIAN_FRONTEND=noninteractive
    apt update
    apt install --no-install-recommends "$@"
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
    rm_all
elif command -v apk >/dev/null 2>&1; then
    set -- git ca-certificates
    [ "$want" = git ] || set -- "$@" g++ make pkgconf python3 python3-dev linux-headers
    apk add --no-cache "$@"
    rm_all
else
    echo 'the image has neither apt-get nor apk to install git and compilers with' >&2
    exit 1
fi
