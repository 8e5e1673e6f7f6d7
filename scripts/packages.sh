# shellcheck shell=bash disable=SC2034  # its variables are used by what sources it
# SPDX-License-Identifier: Apache-2.0
#
# Debian packages, by what needs them, and the two programs that Debian does not have.

BUILD_PACKAGES=(
  bazel-bootstrap bazel-rules-java bazel-rules-proto bazel-skylib g++ pkg-config
  libabsl-dev libbenchmark-dev libcli11-dev libgmock-dev libgrpc++-dev libgtest-dev libisal-dev
  libprotobuf-dev librocksdb-dev libssl-dev liburing-dev libyaml-cpp-dev nlohmann-json3-dev
  prometheus-cpp-dev protobuf-compiler protobuf-compiler-grpc python3 python3-venv
)
TEST_PACKAGES=(
  "${BUILD_PACKAGES[@]}"
  binutils clang-14 clang-format-14 clang-tidy-14 curl git groff-base iproute2 prometheus shellcheck strace systemd
)
BENCH_PACKAGES=("${BUILD_PACKAGES[@]}" fio)
# libclang-rt is for --config=fuzz.
ALL_PACKAGES=("${TEST_PACKAGES[@]}" fio libclang-rt-14-dev)

readonly GRPCURL_VERSION=v1.9.1

# Prints those of the named packages that are not installed.
missing_packages() {
  local installed package
  installed=$(dpkg-query -W -f='${db:Status-Abbrev}${Package}\n' 2>/dev/null | sed -n 's/^ii *//p')
  for package in "$@"; do
    grep -qxF -- "$package" <<<"$installed" || echo "$package"
  done
}

# Debian's prometheus would start as a service of its own: tests only want its programs. Masked
# before it is installed, it does not; a host that has it already keeps what it has.
keep_services_off() {
  [[ " $* " == *" prometheus "* ]] || return 0
  local unit=/etc/systemd/system/prometheus.service
  [[ -e $unit || -L $unit ]] || { as_root mkdir -p "${unit%/*}" && as_root ln -s /dev/null "$unit"; }
}

# Installs those of the named packages that are missing, after saying how much that is.
ensure_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [[ ${#missing[@]} -gt 0 ]] || return 0
  if [[ -n ${NO_APT:-} ]]; then
    say "missing Debian packages (not installed because of --no-apt):"
    printf '%s\n' "${missing[@]}"
    return 0
  fi
  local install=(apt-get install --no-install-recommends)
  if ! "${install[@]}" --simulate "${missing[@]}" >/dev/null 2>&1; then
    say "apt-get update"
    as_root apt-get update -qq
  fi
  keep_services_off "${missing[@]}"
  say "installing ${#missing[@]} Debian packages, about a minute:"
  "${install[@]}" --assume-no "${missing[@]}" 2>/dev/null | grep -E '^(Need to get|After this)' >&2 || true
  as_root env DEBIAN_FRONTEND=noninteractive "${install[@]}" -y -q "${missing[@]}" |
    awk '/^Setting up/ && ++n % 25 == 0 { print "   " n " packages set up" > "/dev/stderr" }
         /^E:|^dpkg: error/ { print > "/dev/stderr" }'
}

# Sets GRPCURL; builds it once from the Go module proxy, because Debian has no package of it.
ensure_grpcurl() {
  export GRPCURL=$KVGATE_CACHE/bin/grpcurl-$GRPCURL_VERSION
  [[ ! -x $GRPCURL ]] || return 0
  command -v go >/dev/null || ensure_packages golang-go
  say "building grpcurl $GRPCURL_VERSION: about 30 s to 90 s"
  local folder
  folder=$(mktemp -d)
  GOBIN=$folder go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$GRPCURL_VERSION" \
    2>&1 | sed '/^go: downloading/d'
  mkdir -p "$KVGATE_CACHE/bin"
  mv "$folder/grpcurl" "$GRPCURL"
  rm -rf "$folder"
}
