#!/bin/sh
# Prints the path of a uv that works: the machine's own, or the pinned one, installed into the cache.
# Messages go to stderr. PYTHON names the Python to install with (python3).
set -eu

version=0.13.9
python=${PYTHON:-python3}
cache=${MODELYARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelyard}
home=$cache/uv-$version

fail() {
    echo "error: $*" >&2
    exit 1
}

own=$(command -v uv || true)
# A pyenv shim may be there without a uv behind it.
if [ -n "$own" ] && "$own" --version >/dev/null 2>&1; then
    echo "$own"
    exit
fi
if [ -x "$home/bin/uv" ]; then
    echo "$home/bin/uv"
    exit
fi

command -v "$python" >/dev/null || fail "$python is not installed; Python 3.11 or newer is needed"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed, and $python is $("$python" --version)"

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian and Ubuntu leave these out of python3.
    package=python3-venv
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $package" >&2
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $package; } >&2 ||
            fail "$package could not be installed"
    else
        fail "$python has no venv; install it (Debian, Ubuntu: sudo apt-get install $package), or install uv"
    fi
fi

echo "installing uv $version into $home" >&2
mkdir -p "$cache"
partial=$(mktemp -d "$cache/.uv-$version.XXXXXX")
trap 'rm -rf "$partial"' EXIT
"$python" -m venv "$partial" >&2
"$partial/bin/python" -m pip install --quiet "uv==$version" >&2 || fail "uv $version could not be installed"
# Another run may have been faster; its uv is the same. uv is one binary, which may be moved.
mv -T "$partial" "$home" 2>/dev/null || [ -x "$home/bin/uv" ] || fail "$home is in the way"
echo "$home/bin/uv"
