#!/usr/bin/env bash
# Builds the fuzz targets with a stable compiler and runs them one after the other.
#
#   tests/fuzz/run.sh <seconds> [target …]
#
# It fails where a target finds something; the input then lies in target/fuzz/findings. What was
# learned is kept in target/fuzz/corpus and used again.
set -euo pipefail

seconds=${1:?usage: run.sh <seconds> [target ...]}
shift
here=$(cd "$(dirname "$0")" && pwd)
work=${CARGO_TARGET_DIR:-$here/../../target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
targets=("$@")
[ ${#targets[@]} -gt 0 ] ||
    targets=(raw_token signed_claims authorization_header jwks_document single_key refresh_token dpop_proof
        logout_token certificate_header introspection_answer mcp_message)

# What `cargo fuzz` passes, without the sanitizer, which needs a nightly compiler. Naming the
# target keeps the flags away from build scripts.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
# The versions that the crate is tested with; cargo adds libFuzzer's.
cp "$here/../../Cargo.lock" "$here/Cargo.lock"
cargo build --release --target "$host" --target-dir "$work" \
    --manifest-path "$here/Cargo.toml" --bins

mkdir -p "$work/findings"
failed=()
for target in "${targets[@]}"; do
    echo "== $target: $seconds s"
    mkdir -p "$work/corpus/$target"
    "$work/$host/release/$target" "$work/corpus/$target" "$here/seeds/$target" \
        -dict="$here/words.dict" -artifact_prefix="$work/findings/$target-" \
        -max_total_time="$seconds" -max_len=4096 -timeout=25 -rss_limit_mb=2048 \
        -print_final_stats=1 2>"$work/$target.log" || failed+=("$target")
    grep -E '^#[0-9]+.*DONE|^stat::number_of_exec|^Done |panicked|^SUMMARY|Test unit' \
        "$work/$target.log" || true
done
if [ ${#failed[@]} -gt 0 ]; then
    printf 'found something: %s\n' "${failed[@]}"
    exit 1
fi
echo "${#targets[@]} passed, 0 failed"
