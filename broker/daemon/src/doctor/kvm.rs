//! What KVM can do: capabilities as it claims them, irqchips and irqfds as they work.

use kvm_bindings::KVM_CAP_HALT_POLL;
use kvm_bindings::KVM_CAP_IMMEDIATE_EXIT;
use kvm_bindings::KVM_CAP_IRQ_ROUTING;
use kvm_bindings::KVM_CAP_IRQFD;
use kvm_bindings::KVM_CAP_IRQFD_RESAMPLE;
use kvm_bindings::KVM_CAP_MSI_DEVID;
use kvm_bindings::KVM_CAP_SIGNAL_MSI;
use kvm_bindings::KVM_CAP_SPLIT_IRQCHIP;
use kvm_bindings::KVM_CAP_X2APIC_API;
use kvm_bindings::KVM_CAP_X86_USER_SPACE_MSR;

use super::check::Check;
use super::check::Group;
use super::check::Status;
use super::check::answer_text;
use super::host::Host;
use super::host::KvmQuestion;
use crate::kvm_node;

/// The check on the device node.
pub(crate) const NODE: &str = "kvm device node";
/// The check on the API version.
pub(crate) const API: &str = "kvm api";
/// The check on a full in-kernel irqchip.
pub(crate) const FULL_IRQCHIP: &str = "full irqchip";
/// The check on a split irqchip.
pub(crate) const SPLIT_IRQCHIP: &str = "split irqchip";
/// The check on an irqfd that is assigned for real.
pub(crate) const IRQFD: &str = "irqfd";
/// The check on a resample irqfd that is assigned for real.
pub(crate) const RESAMPLE_IRQFD: &str = "resample irqfd";
/// The check on the routing table.
pub(crate) const IRQ_ROUTING: &str = "KVM_CAP_IRQ_ROUTING";
/// The check on injecting a message directly.
pub(crate) const SIGNAL_MSI: &str = "KVM_CAP_SIGNAL_MSI";

/// The GSI irqfds are tried on: an IOAPIC pin that a VM with a full irqchip has from the start.
pub(crate) const TRIAL_GSI: u32 = 5;

/// The IOAPIC pins reserved in the routing table when the split irqchip is tried.
pub(crate) const SPLIT_IRQCHIP_PINS: u64 = 24;

/// What is asked, and what the answer means.
struct Question {
    name: &'static str,
    question: KvmQuestion,
    call: &'static str,
    meaning: &'static str,
    cost: &'static str,
}

const fn extension(
    name: &'static str,
    number: u32,
    meaning: &'static str,
    cost: &'static str,
) -> Question {
    Question {
        name,
        question: KvmQuestion::Extension(number),
        call: "",
        meaning,
        cost,
    }
}

/// Everything asked once the node is known to be KVM.
const QUESTIONS: [Question; 14] = [
    extension(
        "KVM_CAP_IRQFD",
        KVM_CAP_IRQFD,
        "an eventfd can be bound to a guest interrupt",
        "no bypass: the relay carries every interrupt",
    ),
    extension(
        "KVM_CAP_IRQFD_RESAMPLE",
        KVM_CAP_IRQFD_RESAMPLE,
        "the guest's EOI of a level interrupt comes back through an eventfd",
        "level interrupts (INTx) cannot be bypassed",
    ),
    extension(
        IRQ_ROUTING,
        KVM_CAP_IRQ_ROUTING,
        "entries of a VM's routing table; each distinct MSI takes one",
        "no MSI can be bypassed",
    ),
    extension(
        SIGNAL_MSI,
        KVM_CAP_SIGNAL_MSI,
        "the relay injects a message with one call and no route",
        "the relay cannot inject messages",
    ),
    extension(
        "KVM_CAP_MSI_DEVID",
        KVM_CAP_MSI_DEVID,
        "routes can carry a device id",
        "nothing on x86; elsewhere MSIs behind an ITS cannot be routed",
    ),
    extension(
        "KVM_CAP_SPLIT_IRQCHIP",
        KVM_CAP_SPLIT_IRQCHIP,
        "local APICs in the kernel, IOAPIC in user space",
        "a VMM with an IOAPIC of its own cannot bypass",
    ),
    extension(
        "KVM_CAP_X2APIC_API",
        KVM_CAP_X2APIC_API,
        "messages and routes can carry 32-bit destinations",
        "interrupts reach the first 255 vCPUs only",
    ),
    extension(
        "KVM_CAP_HALT_POLL",
        KVM_CAP_HALT_POLL,
        "--halt-poll-ns sets the polling time of one VM",
        "--halt-poll-ns has no effect; the host's default applies",
    ),
    extension(
        "KVM_CAP_IMMEDIATE_EXIT",
        KVM_CAP_IMMEDIATE_EXIT,
        "a vCPU about to enter the guest can be turned back",
        "a kick that comes just before the entry is late",
    ),
    extension(
        "KVM_CAP_X86_USER_SPACE_MSR",
        KVM_CAP_X86_USER_SPACE_MSR,
        "x2APIC accesses can be handled in user space",
        "without an in-kernel irqchip, x2APIC guests fault at EOI",
    ),
    Question {
        name: FULL_IRQCHIP,
        question: KvmQuestion::FullIrqchip,
        call: "ioctl({node}, KVM_CREATE_VM), ioctl(vm, KVM_CREATE_IRQCHIP)",
        meaning: "created: PIC, IOAPIC and local APICs in the kernel",
        cost: "level interrupts (INTx) cannot be bypassed",
    },
    Question {
        name: SPLIT_IRQCHIP,
        question: KvmQuestion::SplitIrqchip,
        call: "ioctl({node}, KVM_CREATE_VM), ioctl(vm, KVM_ENABLE_CAP, KVM_CAP_SPLIT_IRQCHIP, 24)",
        meaning: "created: local APICs in the kernel, IOAPIC in user space",
        cost: "a VMM with an IOAPIC of its own cannot bypass",
    },
    Question {
        name: IRQFD,
        question: KvmQuestion::Irqfd,
        call: "ioctl(vm, KVM_IRQFD, gsi 5), ioctl(vm, KVM_IRQFD, gsi 5, DEASSIGN)",
        meaning: "assigned and deassigned",
        cost: "no bypass: the relay carries every interrupt",
    },
    Question {
        name: RESAMPLE_IRQFD,
        question: KvmQuestion::ResampleIrqfd,
        call: "ioctl(vm, KVM_IRQFD, gsi 5, RESAMPLE), ioctl(vm, KVM_IRQFD, gsi 5, DEASSIGN)",
        meaning: "assigned and deassigned",
        cost: "level interrupts (INTx) cannot be bypassed",
    },
];

/// Asks KVM everything; behind a node that is not KVM, nothing more is asked.
pub(crate) fn checks(host: &dyn Host) -> Vec<Check> {
    let node = host.kvm_node().display().to_string();
    let (node_check, api_check) = (opens(host, &node), api(host, &node));
    let is_kvm = api_check.status == Status::Found;
    let mut checks = vec![node_check, api_check];
    checks.extend(QUESTIONS.iter().map(|question| match is_kvm {
        true => ask(host, &node, question),
        false => not_asked(&node, question),
    }));
    checks
}

fn opens(host: &dyn Host, node: &str) -> Check {
    let answer = host.kvm(KvmQuestion::Open);
    let (status, detail) = match answer {
        Ok(_) => (Status::Found, format!("{node} opens")),
        Err(errno) => (
            Status::of_error(errno),
            kvm_node::cannot_open(host.kvm_node(), errno).to_string(),
        ),
    };
    Check {
        group: Group::Kvm,
        name: NODE,
        status,
        detail,
        cost: "no guest, so neither demo nor latency, and no KVM consumer",
        call: format!("open({node}, O_RDWR)"),
        answer: answer.map_or_else(|errno| answer_text::<i32>(&Err(errno)), |_| "ok".to_owned()),
    }
}

fn api(host: &dyn Host, node: &str) -> Check {
    let call = format!("ioctl({node}, KVM_GET_API_VERSION)");
    let check = |status, detail, answer| Check {
        group: Group::Kvm,
        name: API,
        status,
        detail,
        cost: "nothing behind this node is usable",
        call,
        answer,
    };
    if host.kvm(KvmQuestion::Open).is_err() {
        return check(Status::Unknown, CLOSED.to_owned(), NOT_ASKED.to_owned());
    }
    let answer = host.kvm(KvmQuestion::ApiVersion);
    let text = answer_text(&answer);
    match answer {
        Ok(kvm_node::API_VERSION) => check(Status::Found, format!("version {text}"), text),
        Ok(_) => {
            let expected = kvm_node::API_VERSION;
            let detail = format!("version {text}, not {expected}: use a newer kernel");
            check(Status::Missing, detail, text)
        }
        Err(errno) => {
            let detail = kvm_node::not_kvm(host.kvm_node(), errno).to_string();
            check(Status::of_error(errno), detail, text)
        }
    }
}

const CLOSED: &str = "not asked: the kvm device node did not open";
const NOT_ASKED: &str = "not asked";

fn ask(host: &dyn Host, node: &str, question: &Question) -> Check {
    let answer = host.kvm(question.question);
    let is_extension = matches!(question.question, KvmQuestion::Extension(_));
    let status = match answer {
        // An extension answers with its extent, 0 for none; anything else succeeds with 0.
        Ok(extent) => Status::found_if(extent > 0 || !is_extension),
        Err(errno) => Status::of_error(errno),
    };
    let detail = match (status, question.name) {
        (Status::Found, IRQ_ROUTING) => format!("{} {}", answer_text(&answer), question.meaning),
        (Status::Found, _) => question.meaning.to_owned(),
        (_, _) if is_extension => "kvm does not have it".to_owned(),
        (_, _) => format!("kvm refused: {}", answer_text(&answer)),
    };
    Check {
        group: Group::Kvm,
        name: question.name,
        status,
        detail,
        cost: question.cost,
        call: question.call(node),
        answer: answer_text(&answer),
    }
}

fn not_asked(node: &str, question: &Question) -> Check {
    Check {
        group: Group::Kvm,
        name: question.name,
        status: Status::Unknown,
        detail: "not asked: no kvm behind the device node".to_owned(),
        cost: question.cost,
        call: question.call(node),
        answer: NOT_ASKED.to_owned(),
    }
}

impl Question {
    fn call(&self, node: &str) -> String {
        match self.question {
            KvmQuestion::Extension(_) => {
                format!("ioctl({node}, KVM_CHECK_EXTENSION, {})", self.name)
            }
            _ => self.call.replace("{node}", node),
        }
    }
}
