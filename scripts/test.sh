# shellcheck shell=bash disable=SC2034  # its variables are used by what sources it
# SPDX-License-Identifier: Apache-2.0
#
# ./dev test: groups in order, each case counted. scripts/count_cases.py knows what a case is.

readonly TEST_GROUPS=(lint unit sanitizers crash integration wheel e2e)
readonly RESULTS=out/test

# What the group `sanitizers` runs: wire, storage and the local door, at 320 CPU seconds cold. The
# group `sanitizers-full`, which nothing runs by itself, takes every target of the unit group.
readonly ASAN_TARGETS=(
  //proto/wire:all -//proto/wire:checksum_benchmark_smoke_test
  //storage/index:all //storage/memory:all
  //storage/log:format_test //storage/log:log_fault_test //storage/log:log_test
  //gateway/local:codec_fuzz_test //gateway/local:codec_test //gateway/local:door_test
)
readonly TSAN_TARGETS=(
  //storage:store_log_test //storage/io:posix_disk_test //storage/log:log_test
  //storage/memory:pool_test //gateway/local:door_test
)

# run_tests [--timings] [GROUP…]: ends with the line `N passed, N failed`.
run_tests() {
  exec 2>&1
  local groups=() timings=() passed=0 failed=0 skipped=0
  while [[ $# -gt 0 ]]; do
    case $1 in
      --timings) timings=(--slowest 5) ;;
      lint | unit | sanitizers | sanitizers-full | crash | integration | wheel | e2e) groups+=("$1") ;;
      *) die "unknown test group: $1; there are: ${TEST_GROUPS[*]} sanitizers-full" ;;
    esac
    shift
  done
  [[ ${#groups[@]} -gt 0 ]] || groups=("${TEST_GROUPS[@]}")

  ensure_packages "${TEST_PACKAGES[@]}"
  mkdir -p "$RESULTS"
  local group started counts report=()
  for group in "${groups[@]}"; do
    say "test group: $group"
    rm -f "$RESULTS/$group".*
    started=$SECONDS
    echo 0 1 0 >"$RESULTS/$group.counts" # A group that cannot even be counted is one failure.
    (run_group "$group") || true
    read -r -a counts <"$RESULTS/$group.counts"
    report+=("$(printf '%-15s %5d passed %5d failed %5d skipped' "$group" "${counts[@]}")")
    [[ ${#timings[@]} == 0 ]] || report[-1]+=" $(printf '%6d s' $((SECONDS - started)))"
    passed=$((passed + counts[0])) failed=$((failed + counts[1])) skipped=$((skipped + counts[2]))
  done
  printf '\n'
  printf '%s\n' "${report[@]}"
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [[ $failed == 0 ]]
}

# run_group GROUP: leaves PASSED FAILED SKIPPED in out/test/GROUP.counts.
run_group() {
  case $1 in
    lint) pytest_group lint base ;;
    unit) bazel_group unit -crash,-e2e //... ;; # and everything else is built
    crash) bazel_group crash crash --build_tests_only //... ;;
    sanitizers | sanitizers-full) sanitizer_group "$1" ;;
    integration)
      ensure_grpcurl
      pytest_group integration base
      ;;
    wheel) pytest_group wheel base ;;
    e2e) pytest_group e2e vllm ;;
  esac
}

# sanitizer_group GROUP: asan, then tsan; their counts are added.
sanitizer_group() {
  local config targets counts sum=(0 0 0)
  for config in asan tsan; do
    targets=("${ASAN_TARGETS[@]}")
    [[ $config == asan ]] || targets=("${TSAN_TARGETS[@]}")
    [[ $1 == sanitizers ]] || targets=(//...)
    counts=(0 1 0) # as in run_tests
    if bazel_group "$1.$config" -crash,-e2e "--config=$config" --build_tests_only \
      -- "${targets[@]}"; then
      read -r -a counts <"$RESULTS/$1.$config.counts"
    fi
    sum=($((sum[0] + counts[0])) $((sum[1] + counts[1])) $((sum[2] + counts[2])))
  done
  echo "${sum[@]}" >"$RESULTS/$1.counts"
}

# bazel_group GROUP TAG_FILTERS [FLAG…] TARGET…: those tests of these targets.
bazel_group() {
  local status=0
  run_bazel test --keep_going --test_tag_filters="$2" \
    --build_event_json_file="$RESULTS/$1.events.json" "${@:3}" || status=$?
  count_cases "$1" "$status" --bazel "$RESULTS/$1.events.json"
}

# pytest_group FOLDER VENV: pytest on tests/FOLDER, with the built programs in the environment.
pytest_group() {
  local status=0
  ensure_venv "$2"
  if [[ $1 != lint ]]; then
    build_targets "${ARTIFACTS[@]}" || status=$?
    export_artifacts
  fi
  if [[ $status == 0 ]]; then
    "$VENV/bin/python" -m pytest "tests/$1" --junitxml="$RESULTS/$1.xml" || status=$?
  fi
  count_cases "$1" "$status" --junit "$RESULTS/$1.xml"
}

# count_cases GROUP STATUS ARGUMENT…: STATUS is what the runner exited with.
count_cases() {
  local counts
  counts=$(python3 scripts/count_cases.py --runner-status "$2" --allowed-skips tests/allowed_skips \
    "${timings[@]}" "${@:3}") || return # timings: of run_tests
  echo "$counts" >"$RESULTS/$1.counts"
}
