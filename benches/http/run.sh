#!/usr/bin/env bash
# Builds the servers and has wrk ask them; see main.rs.
#
#   benches/http/run.sh [--quick]
#   benches/http/run.sh refresh [--quick]   a refresh at the example auth_server, see refresh/mod.rs
#
# PROFILE=dev builds it without optimisation, to see that it runs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
profile=${PROFILE:-release}
target=${CARGO_TARGET_DIR:-$here/../../target}
if [ "${1-}" = refresh ]; then
    cargo build --quiet --profile "$profile" --manifest-path "$here/../../Cargo.toml" \
        --target-dir "$target" --example auth_server --all-features
    # The profile `dev` has another name as a folder.
    export AUTH_SERVER=$target/${profile/#dev/debug}/examples/auth_server
else
    command -v wrk >/dev/null || { echo "wrk is missing (Debian: apt install wrk)" >&2; exit 1; }
fi
# The versions that the crate is tested with.
cp "$here/../../Cargo.lock" "$here/Cargo.lock"
exec cargo run --quiet --profile "$profile" --manifest-path "$here/Cargo.toml" \
    --target-dir "$target" -- "$@"
