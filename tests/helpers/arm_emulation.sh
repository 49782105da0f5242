#!/bin/sh
# Checks a model's golden samples with the edge kit on an emulated 64-bit Arm processor.
#
#   tests/helpers/arm_emulation.sh MODEL.tflite [FOLDER]
#
# Fetches Debian's arm64 Python and the emulator by apt, from the Debian archive this
# machine's apt uses, and the Arm builds of what export/requirements.txt names by pip.
# All lands in FOLDER (default: .arm), none of it is installed. A second run fetches
# nothing. No rights of an administrator are needed.
set -eu

# The emulator of Debian 12 (QEMU 7.2) crashes when the runtime starts.
RELEASE=trixie
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
CPU=cortex-a72

fail() {
    echo "arm_emulation.sh: error: $1" >&2
    exit 2
}

[ $# -ge 1 ] || fail "expected a model. Call it as: tests/helpers/arm_emulation.sh MODEL.tflite"
[ -f "$1" ] || fail "there is no such model. Received: MODEL=$1. Export one first."
model=$(realpath "$1")
kit=$(realpath "$(dirname "$0")/../../export")
mkdir -p "${2:-.arm}"
folder=$(realpath "${2:-.arm}")
root=$folder/root
PYTHON=${PYTHON:-python3}

for tool in apt-get dpkg-deb "$PYTHON"; do
    command -v "$tool" >/dev/null ||
        fail "it needs $tool, which this machine lacks; run it on Debian or Ubuntu."
done
[ "$(dpkg --print-architecture)" = amd64 ] ||
    fail "it emulates Arm on x86-64 only. On Arm, run export/score.py itself."

# A private apt, with its own lists and nothing installed, for two architectures.
prepare_apt() {
    [ -f "$KEYS" ] || fail "it needs $KEYS: install debian-archive-keyring."
    archive=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' \
        'Created-By: Packages' |
        awk '$1 == "Debian" && $2 !~ /security/ { print $3; exit }')
    [ -n "$archive" ] ||
        fail "apt knows no Debian archive here; run 'apt-get update' on Debian first."
    mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial"
    : >"$folder/apt/status"
    echo "deb [arch=amd64,arm64 signed-by=$KEYS] $archive $RELEASE main" \
        >"$folder/apt/sources.list"
    cat >"$folder/apt/apt.conf" <<EOF
Dir::Etc::SourceList "$folder/apt/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$folder/apt/lists";
Dir::State::Status "$folder/apt/status";
Dir::Cache "$folder/apt";
APT::Architecture "arm64";
APT::Architectures { "arm64"; "amd64"; };
APT::Sandbox::User "";
Acquire::Languages "none";
EOF
    export APT_CONFIG="$folder/apt/apt.conf"
    apt-get -qq update || fail "apt cannot fetch the lists of Debian $RELEASE."
}

fetch_debian() {
    prepare_apt
    # With nothing installed, what Python depends on comes along.
    apt-get -qq -y --no-install-recommends --download-only install \
        python3 libstdc++6 >/dev/null || fail "apt cannot fetch Debian's arm64 Python."
    (cd "$folder/apt" && apt-get -qq download qemu-user:amd64) ||
        fail "apt cannot fetch the emulator (package qemu-user)."
    rm -rf "$root" "$folder/emulator"
    mkdir -p "$root" "$folder/emulator"
    for package in "$folder"/apt/archives/*.deb; do
        dpkg-deb -x "$package" "$root"
    done
    # The package emulates many processors; one program is enough.
    dpkg-deb --fsys-tarfile "$folder"/apt/qemu-user_*.deb |
        tar -x -C "$folder/emulator" ./usr/bin/qemu-aarch64
    # Debian's package base-files makes this link.
    [ -e "$root/lib" ] || ln -s usr/lib "$root/lib"
    rm -r "$folder/apt"
}

emulated() {
    "$folder/emulator/usr/bin/qemu-aarch64" -cpu "$CPU" -L "$root" \
        "$root/usr/bin/python3" "$@"
}

fetch_wheels() {
    version=$(emulated -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    rm -rf "$folder/wheels" "$folder/site"
    mkdir -p "$folder/site.partial"
    "$PYTHON" -m pip download --quiet --dest "$folder/wheels" \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux2014_aarch64 --implementation cp \
        --python-version "$version" --only-binary=:all: \
        --requirement "$kit/requirements.txt" ||
        fail "pip cannot fetch the Arm builds for Python $version."
    for wheel in "$folder"/wheels/*.whl; do
        "$PYTHON" -m zipfile -e "$wheel" "$folder/site.partial"
    done
    mv "$folder/site.partial" "$folder/site"
    rm -r "$folder/wheels"
}

[ -d "$folder/emulator" ] && [ ! -d "$folder/apt" ] || fetch_debian
[ -d "$folder/site" ] || fetch_wheels

PYTHONPATH=$folder/site
PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE
emulated -c 'import platform, ai_edge_litert, numpy, PIL
print("Python", platform.python_version(), "on", platform.machine(), "emulated:",
      "numpy", numpy.__version__ + ", pillow", PIL.__version__)'
# An emulated process cannot start another one, so that the model is not tried first.
emulated "$kit/score.py" "$model" --verify --trust
