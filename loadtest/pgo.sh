#!/usr/bin/env bash
# A build tuned by its own profile: built with counters, put under load (train.py), built again with what was
# counted. The program is target/pgo/release/tollgate.
#
# Needs rustup, whose component llvm-tools it installs: profiles are read by the release of LLVM that wrote them.
set -euo pipefail
. "$(dirname "$0")/processes.sh"

need wrk wrk
need nginx nginx
cargo=${CARGO:-cargo}
merge() { echo "$(rustc --print target-libdir)/../bin/llvm-profdata"; }
[ -x "$(merge)" ] || rustup component add llvm-tools >&2 ||
    fail "rustup component add llvm-tools failed: there is no optional build without it"
host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-$PWD/target}
profiles=$target/pgo/profiles
# With --target, build scripts and macros are not compiled with these flags.
build() { # build FOLDER FLAGS: only the program
    RUSTFLAGS="$2" "$cargo" build --release --locked --bin tollgate --target "$host" --target-dir "$target/pgo/$1" >&2
}
rm -rf "$profiles"
build counting "-Cprofile-generate=$profiles"
TOLLGATE=$target/pgo/counting/$host/release/tollgate python3 "$here/train.py"
"$(merge)" merge -o "$target/pgo/tollgate.profdata" "$profiles"
build tuned "-Cprofile-use=$target/pgo/tollgate.profdata"
mkdir -p "$target/pgo/release"
cp "$target/pgo/tuned/$host/release/tollgate" "$target/pgo/release/"
echo "$target/pgo/release/tollgate"
