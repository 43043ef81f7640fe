#!/usr/bin/env bash
# Builds and runs the image of the Dockerfile with Docker or, where no Docker engine answers, with Debian's buildah.
#
#   deploy/image.sh tools                          installs what is needed in place of Docker (Debian, as root)
#   deploy/image.sh reason                         one line that names what is missing; nothing if complete
#   deploy/image.sh build                          the image payments:dev
#   deploy/image.sh run [FLAG…] -- [COMMAND…]      one container on this machine's network, until it ends; without a
#                                                  command the image's own. FLAG: --env=NAME=VALUE, --volume=FROM:TO[:ro]
#
# Buildah needs no daemon and no registry. Its base is a Debian made by debootstrap and kept, like all of buildah's
# images here, in IMAGE_STORE. The installed packages are the same, but the base is not: use this image for tests, and
# build the deployed image with Docker. Optional settings:
#
#   IMAGE_STORE    where buildah keeps images (~/.cache/payments-image); remove it to start over
#   IMAGE_MIRROR   the Debian mirror (http://deb.debian.org/debian)
#   PIP_CERT, PIP_INDEX_URL    passed to pip in the build, and not kept in the image
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
image=payments:dev
suite=bookworm
mirror=${IMAGE_MIRROR:-http://deb.debian.org/debian}
store=${IMAGE_STORE:-${XDG_CACHE_HOME:-$HOME/.cache}/payments-image}
buildah=(buildah --root "$store/images" --runroot "$store/running" --storage-driver vfs)

has_docker() {
    command -v docker >/dev/null && docker info >/dev/null 2>&1
}

buildah_() {
    "${buildah[@]}" "$@"
}

reason() {
    if has_docker; then
        return
    fi
    local program
    for program in buildah debootstrap; do
        if ! command -v "$program" >/dev/null; then
            echo "no Docker engine answers, and there is no $program in its place (make image-tools installs it on Debian)"
            return
        fi
    done
    if [ "$(id -u)" != 0 ]; then
        echo "no Docker engine answers, and buildah in its place needs root here"
    fi
}

require() {
    local missing
    missing=$(reason)
    if [ -n "$missing" ]; then
        echo "deploy/image.sh: $missing" >&2
        exit 1
    fi
}

tools() {
    if has_docker; then
        echo "a Docker engine answers: nothing else is needed"
        return
    fi
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        echo "deploy/image.sh: installs with apt-get, as root; elsewhere use Docker" >&2
        exit 1
    fi
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        buildah ca-certificates debian-archive-keyring debootstrap procps
}

# Temporary objects, removed at the end in every case.
scratch=
container=
clean_up() {
    if [ -n "$container" ]; then
        buildah_ rm "$container" >/dev/null || true
    fi
    if [ -n "$scratch" ]; then
        rm -rf --one-file-system "$scratch"
    fi
}
trap clean_up EXIT
trap 'exit 143' INT TERM

# A Debian with Python under the name in FROM; its python has the same name as in that image.
make_base() {
    local base=$1 root
    root=$scratch/base
    echo "making a base for $base: Debian $suite from $mirror"
    debootstrap --variant=minbase --include=python3,python3-pip,python3-venv "$suite" "$root" "$mirror" \
        >"$scratch/debootstrap.log" 2>&1 || { tail -n 20 "$scratch/debootstrap.log" >&2; return 1; }
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
    ln -s /usr/bin/python3 "$root/usr/local/bin/python"
    container=$(buildah_ from scratch)
    buildah_ add --quiet "$container" "$root" / >/dev/null
    buildah_ config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python3 "$container"
    buildah_ commit --quiet "$container" "$base" >/dev/null
    buildah_ rm "$container" >/dev/null
    container=
    rm -rf --one-file-system "$root"
}

build_with_buildah() {
    local base flags
    base=docker.io/library/$(awk '$1 == "FROM" { print $2; exit }' "$checkout/Dockerfile")
    mkdir -p "$store"
    scratch=$(mktemp -d)
    chmod 755 "$scratch"
    if ! buildah_ inspect --type image "$base" >/dev/null 2>&1; then
        make_base "$base"
    fi
    # As files that exist only during the build; environment variables would stay in the image.
    { echo "[global]"; [ -z "${PIP_INDEX_URL:-}" ] || echo "index-url = $PIP_INDEX_URL"; } >"$scratch/pip.conf"
    flags=()
    if [ -n "${PIP_CERT:-}" ]; then
        echo "cert = /run/pip-cert.pem" >>"$scratch/pip.conf"
        flags+=(--volume "$(realpath "$PIP_CERT"):/run/pip-cert.pem:ro")
    fi
    flags+=(--volume "$scratch/pip.conf:/etc/pip.conf:ro")
    buildah_ build --isolation chroot --network host --pull-never --format docker "${flags[@]}" \
        --tag "$image" "$checkout"
    # The previous image of that name would take the same space again.
    buildah_ rmi --prune --force >/dev/null
}

build() {
    require
    if has_docker; then
        docker build --tag "$image" "$checkout"
    else
        build_with_buildah
    fi
}

# Puts the arguments before "--" into flags, and those after it into command.
split_arguments() {
    flags=()
    while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
        flags+=("$1")
        shift
    done
    shift || true
    command=("$@")
}

# Buildah has no read-only root, so one is mounted before, in a mount namespace that ends with the container. Only /run,
# which belongs to root, stays writable: buildah writes a file there.
read -r -d '' read_only <<'END' || true
set -euo pipefail
root=$1
shift
mount --bind "$root" "$root"
mount --options remount,bind,ro "$root"
mount --types tmpfs --options mode=755 tmpfs "$root/run"
exec "$@"
END

# On SIGTERM buildah kills the command. So the signal goes to the command itself, which runs below three processes of
# buildah.
end_command() {
    local pid=$1 below
    for _ in 1 2 3; do
        # Not started yet: nothing to lose.
        below=$(pgrep --oldest --parent "$pid") || break
        pid=$below
    done
    kill -TERM "$pid" 2>/dev/null || true
}

run_with_buildah() {
    local root status=0
    container=$(buildah_ from --pull-never "$image")
    root=$(buildah_ mount "$container")
    if [ "${#command[@]}" = 0 ]; then
        mapfile -t command < <(
            buildah_ inspect --format '{{range .OCIv1.Config.Cmd}}{{println .}}{{end}}' "$container" | sed '/^$/d'
        )
    fi
    unshare --mount --propagation private -- bash -c "$read_only" read-only "$root" "${buildah[@]}" run \
        --isolation chroot --network host --cap-drop all --mount type=tmpfs,destination=/tmp "${flags[@]}" \
        "$container" -- setpriv --no-new-privs "${command[@]}" &
    # This script waits until the command has ended.
    trap 'end_command "$!"' INT TERM
    while kill -0 "$!" 2>/dev/null; do
        status=0
        wait "$!" || status=$?
    done
    return "$status"
}

run() {
    require
    local flags command
    split_arguments "$@"
    if has_docker; then
        exec docker run --rm --init --network host --read-only --tmpfs /tmp --cap-drop ALL \
            --security-opt no-new-privileges:true "${flags[@]}" "$image" "${command[@]}"
    fi
    run_with_buildah
}

case ${1:-} in
    tools | reason | build) "$1" ;;
    run) shift && run "$@" ;;
    *) sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//; p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
