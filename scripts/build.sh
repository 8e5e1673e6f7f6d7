# shellcheck shell=bash disable=SC2034  # its variables are used by what sources it
# SPDX-License-Identifier: Apache-2.0
#
# Bazel, and the names under which tests and demos find what it built.

# environment variable -> what Bazel builds
declare -rA ARTIFACTS=(
  [KVGATED]=//gateway:kvgated
  [KVGATE_CLI]=//client/cli:kvgate
  [KVGATE_REPLAY]=//tests/bench:replay
  [KVGATE_LIB]=//client/c:libkvgate.so
  [KVGATE_GRPC_LIB]=//client/c:libkvgate_grpc.so
)
DEMO_TARGETS=(//gateway:kvgated //tests/bench:replay)

# Runs `bazel VERB …` with the caches of this project. KVGATE_OUTPUT_BASE gives a server of its
# own, for building beside another build.
run_bazel() {
  local verb=$1 startup=()
  shift
  [[ -z ${KVGATE_OUTPUT_BASE:-} ]] || startup=(--output_base="$KVGATE_OUTPUT_BASE")
  bazel "${startup[@]}" "$verb" --disk_cache="$KVGATE_CACHE/bazel-disk" \
    --show_progress_rate_limit=5 "$@"
}

build_targets() {
  say "building: $*"
  run_bazel build "$@"
}

# Exports KVGATE_BIN_DIR and a variable for each artifact that is there; Python is that of VENV.
export_artifacts() {
  local variable label path
  KVGATE_BIN_DIR=$(run_bazel info bazel-bin 2>/dev/null)
  export KVGATE_BIN_DIR
  for variable in "${!ARTIFACTS[@]}"; do
    label=${ARTIFACTS[$variable]#//}
    path=$KVGATE_BIN_DIR/${label/://}
    [[ ! -e $path ]] || export "$variable=$path"
  done
  [[ -z ${VENV:-} ]] || export PATH=$VENV/bin:$PATH
  export PYTHONPATH=$PWD/client/python PYTHONDONTWRITEBYTECODE=1
}

# prepare VENV TARGET…: everything that a script in that environment needs to drive those targets.
# The environment is fetched while the compiler works.
prepare() {
  local venv built=0
  ensure_packages "${BUILD_PACKAGES[@]}"
  (ensure_venv "$1") &
  venv=$!
  build_targets "${@:2}" || built=$?
  wait "$venv"
  [[ $built == 0 ]] || return "$built"
  ensure_venv "$1" # sets VENV: what it makes is there
  export_artifacts
}
