//! What the benches that need /dev/kvm begin and end with.

use std::process::ExitCode;

use kvm_ioctls::Kvm;
use rustix::process::Resource;

/// Opens /dev/kvm, or says how a bench ends that cannot: without it there is nothing to measure,
/// which is a failure only if `IRQBROKER_REQUIRE` names `kvm`.
pub(crate) fn open(bench: &str) -> Result<Kvm, ExitCode> {
    Kvm::new().map_err(|error| {
        println!("{bench}: nothing measured, /dev/kvm: {error}");
        let required = std::env::var("IRQBROKER_REQUIRE")
            .is_ok_and(|list| list.split(',').any(|name| name == "kvm"));
        ExitCode::from(u8::from(required))
    })
}

/// To all that the host allows: each vector takes an fd or two, and each VM half a dozen.
pub(crate) fn raise_fd_limit() -> rustix::io::Result<()> {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(Resource::Nofile, limit)
}
