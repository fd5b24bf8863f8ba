# Our own binaries, statically linked: the initial RAM disk has no libraries.

BINARIES=$LAB/binaries

# Builds the stories, the command and VNC viewers into $BINARIES.
make_binaries() {
    local target=x86_64-unknown-linux-gnu stories
    mkdir -p "$BINARIES"
    step "building the stories and irqbroker"
    # With a target named, the flags do not reach build scripts and macros, which cannot be static.
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release --target "$target" \
        --target-dir "$LAB/cargo" --manifest-path "$HERE/../../Cargo.toml" \
        --package irqbroker-suite --test lab --package irqbroker-daemon --bin irqbroker \
        --package irqbroker-display --example vnc_capture --example vnc_resize \
        --message-format json >"$LAB/build.json"
    # The test binary's name carries a hash.
    stories=$(grep -o '"executable":"[^"]*/lab-[0-9a-f]*"' "$LAB/build.json" | cut -d'"' -f4)
    [ -n "$stories" ] || die "cargo built no stories"
    cp "$stories" "$BINARIES/stories"
    cp "$LAB/cargo/$target/release/irqbroker" "$BINARIES/irqbroker"
    cp "$LAB/cargo/$target/release/examples"/vnc_{capture,resize} "$BINARIES/"
    step "binaries built"
}
