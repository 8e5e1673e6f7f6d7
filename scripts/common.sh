# shellcheck shell=bash disable=SC2034  # its variables are used by what sources it
# SPDX-License-Identifier: Apache-2.0
#
# What every part of ./dev uses.

: "${KVGATE_CACHE:=$HOME/.cache/kvgate}"

say() { printf '== %s\n' "$*" >&2; }

die() {
  printf './dev: %s\n' "$*" >&2
  exit 1
}

# Runs a command as root, by sudo only where that is needed.
as_root() {
  if [[ $EUID == 0 ]]; then "$@"; else sudo "$@"; fi
}

# Takes --no-apt out of the arguments before a `--`; leaves the others in ARGUMENTS.
take_no_apt() {
  ARGUMENTS=()
  while [[ $# -gt 0 && $1 != -- ]]; do
    if [[ $1 == --no-apt ]]; then NO_APT=1; else ARGUMENTS+=("$1"); fi
    shift
  done
  ARGUMENTS+=("$@")
}
