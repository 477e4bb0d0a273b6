#!/usr/bin/env bash
# Builds the servers and has wrk ask them; see main.rs.
#
#   benches/http/run.sh [--quick]
#
# PROFILE=dev builds it without optimisation, to see that it runs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
command -v wrk >/dev/null || { echo "wrk is missing (Debian: apt install wrk)" >&2; exit 1; }
# The versions that the crate is tested with.
cp "$here/../../Cargo.lock" "$here/Cargo.lock"
exec cargo run --quiet --profile "${PROFILE:-release}" --manifest-path "$here/Cargo.toml" \
    --target-dir "${CARGO_TARGET_DIR:-$here/../../target}" -- "$@"
