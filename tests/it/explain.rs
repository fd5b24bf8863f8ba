//! A manager's vector, its link, the VM and the host joined to one answer.

use anyhow::Context;
use anyhow::ensure;
use irqbroker::explain::Evidence;
use irqbroker::explain::HostFiles;
use irqbroker::explain::HostPosting;
use irqbroker::explain::HostRoot;
use irqbroker::explain::InterruptPath;
use irqbroker::explain::Irqchip;
use irqbroker::explain::KernelDelivery;
use irqbroker::explain::MessageIds;
use irqbroker::explain::VmView;
use irqbroker::explain::WhyNot;
use irqbroker::explain::explain;
use irqbroker_core::LinkSnapshot;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Reason;
use irqbroker_core::Rid;
use irqbroker_vfio::pci::MessageSource;
use irqbroker_vfio::pci::VectorIndex;
use libtest_mimic::Trial;
use rustix::io::Errno;

use crate::manager_rig::Rig;
use crate::manager_rig::vector;
use crate::world::World;
use crate::world::message;
use crate::world::on_both;

pub(crate) fn stories() -> Vec<Trial> {
    on_both(
        "explain_of_a_managers_vector_follows_it_from_waiting_to_what_the_kernel_makes_of_it",
        follows,
    )
    .into()
}

/// A host whose kernel says that it posts.
struct Posts;

impl HostFiles for Posts {
    fn read(&self, path: &str) -> Result<String, Errno> {
        match path.starts_with("/sys/module/kvm_intel/parameters/") {
            true => Ok("Y".to_owned()),
            false => Err(Errno::NOENT),
        }
    }

    fn list(&self, _path: &str) -> Result<Vec<String>, Errno> {
        Err(Errno::NOENT)
    }
}

fn follows(world: &dyn World) -> anyhow::Result<()> {
    const VECTOR: u16 = 3;
    let rig = Rig::new(world, 4)?;
    let vm = VmView {
        irqchip: Irqchip::Full,
        message_ids: MessageIds::Bits8,
        apics: None,
    };
    let link = || -> anyhow::Result<LinkSnapshot> {
        let source = MessageSource::Msix(VectorIndex(VECTOR));
        let explained = rig.guest.0.explain(source);
        let link = explained.link.context("no link")?;
        Ok(rig.manager.registry().link(link)?)
    };
    let host = HostPosting::read(&Posts);
    rig.guest.enable_msix([(VECTOR, message(vector(VECTOR)))]);
    rig.settle(world)?;
    // The simulated device is no function of a bus.
    let simulated = explain(&link()?, &vm, &host);
    ensure!(simulated.why_not == Some(WhyNot::NoDevice), "{simulated}");
    let real = LinkSnapshot {
        source: Some(ProducerInfo {
            source_id: Some(Rid(3 << 3)),
            ..ProducerInfo::edge()
        }),
        ..link()?
    };
    let posted = explain(&real, &vm, &host);
    let path = InterruptPath::Bypass(KernelDelivery::Posted);
    ensure!(posted.path == path && posted.evidence == Evidence::Inferred);
    let here = explain(&real, &vm, &HostPosting::read(&HostRoot::default()));
    ensure!(matches!(here.path, InterruptPath::Bypass(_)), "{here}");
    rig.guest.mask(VECTOR);
    let masked = explain(&link()?, &vm, &host);
    ensure!(masked.path == InterruptPath::Waiting, "{masked}");
    let why = WhyNot::Registry(Reason::Masked);
    ensure!(masked.why_not == Some(why) && masked.evidence == Evidence::Told);
    Ok(())
}
