# The initial RAM disk: busybox, the kernel's modules, our binaries. Uncompressed: emulated unpacking is slow.

BUSYBOX=$LAB/busybox

# The statically linked one; the machine's own may be another.
make_busybox() {
    is_made "$BUSYBOX" "$HERE/lib/initrd.sh" && return
    debian_lists
    fresh "$BUSYBOX"
    (cd "$BUSYBOX" && debian_download busybox-static/bookworm && dpkg-deb --extract ./*.deb . && rm ./*.deb)
    made "$BUSYBOX" "$HERE/lib/initrd.sh"
}

# Makes FOLDER/initrd: make_initrd KERNEL-FOLDER FOLDER ENVIRONMENT...
make_initrd() {
    local kernel=$1 folder=$2 root=$2/root
    shift 2
    fresh "$root"
    mkdir -p "$root"/{bin,proc,sys,dev,tmp,modules,lab}
    cp "$BUSYBOX/bin/busybox" "$root/bin/busybox"
    cp "$HERE/guest/init" "$root/init"
    cp "$kernel/load" "$root/modules/"
    [ ! -d "$kernel/modules" ] || cp "$kernel"/modules/* "$root/modules/"
    # Without symbols a fifth of the size remains; a failing story still says what failed.
    strip -o "$root/lab/stories" "$BINARIES/stories"
    strip -o "$root/lab/irqbroker" "$BINARIES/irqbroker"
    printf 'export %s\n' "$@" >"$root/lab/environment"
    (cd "$root" && find . | LC_ALL=C sort | cpio --create --format=newc --quiet) >"$folder/initrd"
    rm -rf "$root"
}
