#!/bin/sh
# Installs what the benchmark of other services needs besides PostgreSQL: wrk, nginx and a virtual environment, all in
# var/bench-tools. Usage: bench/tools.sh PEERS, the folder of that benchmark. Debian; as root it updates the lists of
# packages first. The packages are extracted: an installation would need root and start a server.
set -eu
peers=${1:?usage: bench/tools.sh PEERS}
cd "$(dirname "$0")/.."
tools=var/bench-tools
python=${PYTHON3:-python3}
[ -f "$peers/requirements.txt" ] || { echo "make bench-tools: $peers has no benchmark of other services" >&2; exit 1; }
mkdir -p "$tools/bin"

if ! command -v wrk > /dev/null || ! command -v nginx > /dev/null; then
    [ "$(id -u)" != 0 ] || apt-get update --quiet=2
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    (cd "$folder" && apt-get download --quiet=2 --option APT::Sandbox::User=root wrk nginx libluajit-5.1-2)
    rm -rf "$tools/root"
    for package in "$folder"/*.deb; do dpkg-deb --extract "$package" "$tools/root"; done
    ln -sf ../root/usr/sbin/nginx "$tools/bin/nginx"
    libraries=$(dirname "$(find "$PWD/$tools/root/usr/lib" -name 'libluajit-5.1.so.2' | head -n 1)")
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "'$libraries'" "'$PWD/$tools/root/usr/bin/wrk'" > "$tools/bin/wrk"
    chmod +x "$tools/bin/wrk"
fi

"$python" -m venv --clear "$tools/venv"
grep --extended-regexp '^(falcon|gunicorn|marshmallow|psycopg|urllib3)\b' "$peers/requirements.txt" > "$tools/requirements.txt"
"$tools/venv/bin/python" -m pip install --quiet --requirement "$tools/requirements.txt"
echo "installed: $tools"
