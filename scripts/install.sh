# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# ./dev install: the programs, and what a host needs to run them, under one prefix.

readonly INSTALLED=(KVGATED KVGATE_CLI KVGATE_LIB KVGATE_GRPC_LIB) # of ARTIFACTS

# install_kvgate [--prefix DIR] [--destdir DIR] [--built]
#
# Under /usr and /usr/local configuration, state and sockets have their usual places on the host;
# under any other prefix they lie in it, so that a folder can be tried without touching the host.
# --destdir stands before every path that is written and in none of the files, for packages.
# --built installs what the variables of INSTALLED name, and builds nothing.
install_kvgate() {
  local prefix=/usr/local destdir='' built=''
  while [[ $# -gt 0 ]]; do
    case $1 in
      --prefix=*) prefix=${1#*=} ;;
      --destdir=*) destdir=${1#*=} ;;
      --prefix | --destdir)
        [[ $# -gt 1 ]] || die "$1 needs a folder"
        printf -v "${1#--}" '%s' "$2"
        shift
        ;;
      --built) built=1 ;;
      -h | --help)
        install_help
        return
        ;;
      *) die "install: unknown argument: $1" ;;
    esac
    shift
  done
  # What a unit file takes as it stands.
  [[ $prefix =~ ^/[A-Za-z0-9_./+-]*$ ]] ||
    die "install: --prefix $prefix: must be an absolute path of letters, digits and _ . / + -"
  prefix=${prefix%/}

  local sysconfdir=$prefix/etc statedir=$prefix/var/lib/kvgate rundir=$prefix/run/kvgate
  case $prefix in
    /usr | /usr/local) sysconfdir=/etc statedir=/var/lib/kvgate rundir=/run/kvgate ;;
  esac
  local variable targets=()
  if [[ -z $built ]]; then
    ensure_packages "${BUILD_PACKAGES[@]}"
    for variable in "${INSTALLED[@]}"; do targets+=("${ARTIFACTS[$variable]}"); done
    build_targets "${targets[@]}"
    export_artifacts
  fi
  for variable in "${INSTALLED[@]}"; do
    [[ -f ${!variable:-} ]] || die "install --built: $variable names no file: ${!variable:-}"
  done
  install_files
  say "installed under $destdir$prefix; see $destdir$prefix/share/man/man8/kvgated.8"
}

install_help() {
  cat <<'TEXT'
usage: ./dev install [--prefix DIR] [--destdir DIR] [--built]

Programs, libraries, systemd unit, configuration, completions and man pages, under one prefix.

  --prefix DIR   /usr/local when not given. Under /usr and /usr/local configuration, state and
                 sockets have their usual places on the host; under any other they lie in DIR
  --destdir DIR  stands before every path that is written and in none of the files, for packages
  --built        install what KVGATED, KVGATE_CLI, KVGATE_LIB and KVGATE_GRPC_LIB name, build nothing

A configuration that is there is left as it is. To begin: docs/operating.md, "Start".
TEXT
}

# Of install_kvgate, whose variables it uses.
install_files() {
  local bin=$destdir$prefix/bin share=$destdir$prefix/share
  put 755 "$KVGATED" "$bin/kvgated"
  put 755 "$KVGATE_CLI" "$bin/kvgate"
  put 644 "$KVGATE_LIB" "$destdir$prefix/lib/libkvgate.so"
  put 644 "$KVGATE_GRPC_LIB" "$destdir$prefix/lib/libkvgate_grpc.so"
  put 644 client/c/kvgate.h "$destdir$prefix/include/kvgate.h"
  put 644 deploy/man/kvgated.8 "$share/man/man8/kvgated.8"
  put 644 deploy/man/kvgate.1 "$share/man/man1/kvgate.1"
  put 644 deploy/man/kvgate.yaml.5 "$share/man/man5/kvgate.yaml.5"
  "$KVGATE_CLI" completion bash | put 644 - "$share/bash-completion/completions/kvgate"
  "$KVGATE_CLI" completion zsh | put 644 - "$share/zsh/site-functions/_kvgate"
  "$KVGATE_CLI" completion fish | put 644 - "$share/fish/vendor_completions.d/kvgate.fish"
  local systemd=$destdir$prefix/lib
  fill deploy/systemd/kvgated.service.in "$systemd/systemd/system/kvgated.service"
  fill deploy/systemd/sysusers.conf.in "$systemd/sysusers.d/kvgate.conf"
  fill deploy/systemd/tmpfiles.conf.in "$systemd/tmpfiles.d/kvgate.conf"
  local config=$destdir$sysconfdir/kvgate/kvgate.yaml
  if [[ -e $config ]]; then
    say "$config is left as it is; the shipped one stands beside it as kvgate.yaml.new"
    config+=.new
  fi
  fill deploy/kvgate.yaml.in "$config"
}

# put MODE FILE TARGET: FILE - is stdin; a running program keeps the file that it was started from.
put() {
  mkdir -p "$(dirname "$3")"
  install -m "$1" "${2/#-//dev/stdin}" "$3.part"
  mv -f "$3.part" "$3"
}

# fill TEMPLATE TARGET: with the folders of this installation.
fill() {
  sed -e "s|@bindir@|$prefix/bin|g" -e "s|@sysconfdir@|$sysconfdir|g" \
    -e "s|@statedir@|$statedir|g" -e "s|@rundir@|$rundir|g" "$1" | put 644 - "$2"
}
