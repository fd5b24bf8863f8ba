# QEMU of trixie-backports, unpacked beside the machine's own libraries.
#
# Debian 12's own will not do: its e1000e ends QEMU when MSI-X is switched off within its throttling time.

QEMU=$LAB/qemu
# By its own loader, since the machine's libraries are older.
qemu=(
    "$QEMU/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    --library-path "$QEMU/usr/lib/x86_64-linux-gnu"
    "$QEMU/usr/bin/qemu-system-x86_64" -L "$QEMU/usr/share/qemu" -L "$QEMU/usr/share/seabios"
)

make_qemu() {
    is_made "$QEMU" "$HERE/lib/qemu.sh" && return
    debian_lists
    fresh "$QEMU"
    debian_closure trixie-backports qemu-system-x86 "$QEMU"
    # What nobody here reads.
    rm -rf "${QEMU:?}"/{etc,var} "$QEMU"/usr/share/{doc,man,locale,perl,info}
    made "$QEMU" "$HERE/lib/qemu.sh"
    step "$("${qemu[@]}" --version | head -1)"
}
