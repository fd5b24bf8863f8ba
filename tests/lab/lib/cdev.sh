# A small kernel with VFIO device nodes (CONFIG_VFIO_DEVICE_CDEV), built from the source of the newest one.

make_cdev_kernel() {
    local folder=$LAB/kernel-cdev config=$HERE/kernels/cdev.config series
    is_made "$folder" "$HERE/lib/cdev.sh" "$config" && return
    debian_lists
    series=$(debian_kernel trixie-backports | cut -d. -f1,2)
    need_tools make=make gcc=gcc bc=bc bison=bison flex=flex
    need_file /usr/include/libelf.h libelf-dev
    fresh "$folder"
    mkdir "$folder/source"
    (
        cd "$folder/source" || exit
        debian_download "linux-source-$series/trixie-backports"
        dpkg-deb --fsys-tarfile ./*.deb | tar --extract --to-stdout --wildcards '*/linux-source-*.tar.xz' |
            tar --extract --xz --strip-components=1
        step "kernel cdev: building $series"
        build_kernel "$config" >"$LAB/cdev-build.log" 2>&1 || die "see $LAB/cdev-build.log"
        make --silent kernelrelease >"$folder/release"
        cp arch/x86/boot/bzImage "$folder/vmlinuz"
    )
    # Everything is built in.
    : >"$folder/load"
    rm -rf "$folder/source"
    made "$folder" "$HERE/lib/cdev.sh" "$config"
    step "kernel cdev: $(cat "$folder/release")"
}

# In the source folder: build_kernel CONFIG
build_kernel() {
    local config=$1 wanted
    make tinyconfig
    scripts/kconfig/merge_config.sh -m .config "$config"
    make olddefconfig
    # An option whose dependencies are not met is dropped without a word.
    while read -r wanted; do
        grep -qx "$wanted" .config || { echo "not taken: $wanted" && return 1; }
    done < <(grep '^CONFIG_' "$config")
    make --jobs="$(nproc)" bzImage
}
