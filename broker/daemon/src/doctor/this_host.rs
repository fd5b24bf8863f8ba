//! The host this process runs on.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::thread;

use irqbroker::Token;
use irqbroker::TokenError;
use irqbroker_vfio::ContainerError;
use irqbroker_vfio::ContainerSupport;
use kvm_bindings::KVM_CAP_SPLIT_IRQCHIP;
use kvm_bindings::kvm_enable_cap;
use kvm_ioctls::Kvm;
use kvm_ioctls::VmFd;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;
use rustix::io::Errno;
use rustix::process::Resource;
use rustix::process::getrlimit;
use vmm_sys_util::eventfd::EFD_CLOEXEC;
use vmm_sys_util::eventfd::EFD_NONBLOCK;
use vmm_sys_util::eventfd::EventFd;

use super::check::Answer;
use super::host::Bounds;
use super::host::EventfdFacts;
use super::host::Host;
use super::host::KvmQuestion;
use super::host::Limit;
use super::kvm::SPLIT_IRQCHIP_PINS;
use super::kvm::TRIAL_GSI;
use crate::kvm_node;

/// This host, with KVM behind a node of the user's choice.
#[derive(Debug)]
pub(crate) struct ThisHost {
    node: PathBuf,
    kvm: Answer<Kvm>,
}

impl ThisHost {
    /// Opens the node; whether that worked is one of the answers.
    pub(crate) fn new(node: &Path) -> Self {
        Self {
            node: node.to_owned(),
            kvm: kvm_node::open_unchecked(node),
        }
    }
}

impl Host for ThisHost {
    fn kvm_node(&self) -> &Path {
        &self.node
    }

    fn kvm(&self, question: KvmQuestion) -> Answer<i32> {
        let kvm = self.kvm.as_ref().map_err(|errno| *errno)?;
        match question {
            KvmQuestion::Open => Ok(0),
            KvmQuestion::ApiVersion => kvm_node::api_version(kvm),
            KvmQuestion::Extension(number) => extension(kvm, number),
            KvmQuestion::FullIrqchip => with_full_irqchip(kvm).map(|_| 0),
            KvmQuestion::SplitIrqchip => split_irqchip(kvm),
            KvmQuestion::Irqfd => irqfd(kvm, None),
            KvmQuestion::ResampleIrqfd => irqfd(kvm, Some(event()?)),
        }
    }

    fn read(&self, path: &str) -> Answer<String> {
        let text = fs::read_to_string(path).map_err(errno)?;
        Ok(text.trim().to_owned())
    }

    fn list(&self, path: &str) -> Answer<Vec<String>> {
        let entries = fs::read_dir(path).map_err(errno)?;
        let name = |entry: io::Result<fs::DirEntry>| {
            let name = entry.map_err(errno)?.file_name();
            Ok(name.to_string_lossy().into_owned())
        };
        let mut names = entries.map(name).collect::<Answer<Vec<String>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, path: &str) -> Answer<()> {
        let file = fs::File::options().read(true).write(true).open(path);
        file.map(drop).map_err(errno)
    }

    fn vfio_container(&self) -> Result<ContainerSupport, ContainerError> {
        irqbroker_vfio::container_support()
    }

    fn eventfd(&self) -> EventfdFacts {
        let plain = eventfd(0, EventfdFlags::CLOEXEC).ok();
        let token = plain.as_ref().and_then(|event| Token::of(event).ok());
        let semaphore = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::SEMAPHORE).ok();
        let recognised =
            |event: OwnedFd| matches!(Token::of(event), Err(TokenError::Semaphore { .. }));
        let is_same_file = |(token, event): (&Token, OwnedFd)| {
            let duplicate = event.try_clone().ok()?;
            token.is_same_file(duplicate)
        };
        EventfdFacts {
            id: token.as_ref().map(|token| token.id().0),
            shows_semaphore: semaphore.is_some_and(recognised),
            same_file: token.as_ref().zip(plain).and_then(is_same_file),
        }
    }

    fn limit(&self, limit: Limit) -> Bounds {
        let limit = getrlimit(match limit {
            Limit::OpenFiles => Resource::Nofile,
            Limit::LockedMemory => Resource::Memlock,
        });
        Bounds {
            soft: limit.current,
            hard: limit.maximum,
        }
    }

    fn cpus(&self) -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }
}

fn extension(kvm: &Kvm, number: u32) -> Answer<i32> {
    match kvm.check_extension_raw(number.into()) {
        // kvm-ioctls hands the -1 on; nothing has touched errno since.
        answer if answer < 0 => Err(kvm_node::last_errno()),
        answer => Ok(answer),
    }
}

fn with_full_irqchip(kvm: &Kvm) -> Answer<VmFd> {
    let vm = kvm.create_vm().map_err(kvm_node::errno)?;
    vm.create_irq_chip().map_err(kvm_node::errno)?;
    Ok(vm)
}

fn split_irqchip(kvm: &Kvm) -> Answer<i32> {
    let vm = kvm.create_vm().map_err(kvm_node::errno)?;
    let mut split = kvm_enable_cap {
        cap: KVM_CAP_SPLIT_IRQCHIP,
        ..Default::default()
    };
    split.args[0] = SPLIT_IRQCHIP_PINS;
    vm.enable_cap(&split).map_err(kvm_node::errno)?;
    Ok(0)
}

fn irqfd(kvm: &Kvm, resample: Option<EventFd>) -> Answer<i32> {
    let vm = with_full_irqchip(kvm)?;
    let trigger = event()?;
    let assigned = match &resample {
        None => vm.register_irqfd(&trigger, TRIAL_GSI),
        Some(resample) => vm.register_irqfd_with_resample(&trigger, resample, TRIAL_GSI),
    };
    assigned.map_err(kvm_node::errno)?;
    let deassigned = vm.unregister_irqfd(&trigger, TRIAL_GSI);
    deassigned.map_err(kvm_node::errno)?;
    Ok(0)
}

fn event() -> Answer<EventFd> {
    EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(errno)
}

/// Every failure here is a system call's; should one not be, an I/O error is all that is known.
#[expect(
    clippy::needless_pass_by_value,
    reason = "map_err hands the error over by value"
)]
fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_behind_another_device_opens_but_is_not_kvm() {
        let host = ThisHost::new(Path::new("/dev/null"));
        assert_eq!(host.kvm(KvmQuestion::Open), Ok(0));
        assert_eq!(host.kvm(KvmQuestion::ApiVersion), Err(Errno::NOTTY));
    }

    #[test]
    fn kvm_behind_no_node_answers_everything_with_that() {
        let host = ThisHost::new(Path::new("/nonexistent/kvm"));
        for question in [
            KvmQuestion::Open,
            KvmQuestion::FullIrqchip,
            KvmQuestion::Irqfd,
        ] {
            assert_eq!(host.kvm(question), Err(Errno::NOENT), "{question:?}");
        }
    }

    #[test]
    fn files_and_nodes_that_are_not_there_are_told_as_such() {
        let host = ThisHost::new(Path::new("/dev/null"));
        assert_eq!(host.read("/nonexistent"), Err(Errno::NOENT));
        assert_eq!(host.list("/nonexistent"), Err(Errno::NOENT));
        assert_eq!(host.open("/nonexistent"), Err(Errno::NOENT));
        assert_eq!(host.open("/dev/null"), Ok(()));
    }

    #[test]
    fn eventfd_never_takes_a_dup_for_another_file() {
        let facts = ThisHost::new(Path::new("/dev/null")).eventfd();
        assert_ne!(facts.same_file, Some(false));
    }
}
