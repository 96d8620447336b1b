#!/usr/bin/env bash
# Fuzzes targets one after the other, JOBS at once: SECONDS_EACH seconds each, or RUNS runs each if that is
# set, from the saved inputs and the seeds. What makes a target fail is left in found/ and ends with status 1.
# A figure for each target is appended to found/runs.txt.
#
#   run.sh [target...]         all of them, or those named
#
# SEED, if it is set, makes a run repeatable as far as its length is.
#
# Needs a C++ compiler for libFuzzer; rustc may be a stable one.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${SECONDS_EACH:-60} runs=${RUNS:--1} jobs=${JOBS:-1}
[ "$runs" -lt 0 ] || seconds=0
cargo=${CARGO:-cargo}
# What is fuzzed is what is shipped, with the same dependencies.
cp ../Cargo.lock .
"$cargo" build --release --config 'build.rustc-wrapper="./rustc.sh"'
mkdir -p found
fuzz() {
    target=$1
    SEEDS=seeds/$target "target/release/$target" >/dev/null 2>&1
    mkdir -p "found/$target" "corpus/$target"
    log=found/$target.log
    status=0
    # The first folder is where new inputs are kept.
    "target/release/$target" -seed="${SEED:-0}" -runs="$2" -max_total_time="$3" -max_len=640 -timeout=20 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="found/$target-" \
        "found/$target" "corpus/$target" "seeds/$target" >"$log" 2>&1 || status=$?
    ran=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    each=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    echo "$(date -u +%FT%TZ) $target runs=${ran:-?} a_second=${each:-?} status=$status" | tee -a found/runs.txt
    [ "$status" = 0 ] || tail -n 40 "$log"
    return "$status"
}
export -f fuzz
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -n 's/^    "\([a-z_0-9]*\)": .*/\1/p' targets/mod.rs)
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} bash -c "fuzz {} $runs $seconds"
