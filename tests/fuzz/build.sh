# Sourced by `run` and `long`: builds the fuzz targets and says where they lie.
#
# libFuzzer needs its counters in the program. cargo-fuzz asks a nightly compiler for them; the same
# pass is in the stable one, under the name that LLVM has for it. So the pinned toolchain will do, and
# nobody has to have two. What is built so lies apart: no other build has these flags.

root=$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..")
corpora=$root/tests/fuzz/corpus
target=$(mkdir -p "${CARGO_TARGET_DIR:-$root/target}" && readlink -f "${CARGO_TARGET_DIR:-$root/target}")/fuzz
artifacts=$target/artifacts
host=$(rustc -vV | sed -n 's/^host: //p')
programs=$target/$host/release
mapfile -t targets < <(cd "$root/tests/fuzz/fuzz_targets" && ls | sed -n 's/\.rs$//p')

# What libFuzzer is told for any target: a run that takes ten seconds hangs, and nothing of ours needs
# a gigabyte.
options=(-timeout=10 -rss_limit_mb=1024 -print_final_stats=1 "-artifact_prefix=$artifacts/")

# The longest input of a target: that of the longest message, and some.
longest() {
    case $1 in
        session) echo 16384 ;;
        stream | update | canonical | decode | mrt | cni_frames) echo 8192 ;;
        *) echo 4096 ;;
    esac
}

build() {
    local llvm flags=(--cfg fuzzing)
    flags+=(-Cpasses=sancov-module)
    for llvm in level=4 inline-8bit-counters pc-table trace-compares; do
        flags+=("-Cllvm-args=-sanitizer-coverage-$llvm")
    done
    mkdir -p "$artifacts"
    # With --target the flags are for what is fuzzed, not for what only runs while compiling.
    CARGO_TARGET_DIR=$target RUSTFLAGS="${flags[*]}" \
        cargo build --locked --release --target "$host" --manifest-path "$root/tests/fuzz/Cargo.toml" --bins
}
