//! The seccomp filter made of the list.

use std::collections::BTreeMap;

use rustix::io::Errno;
use seccompiler::BackendError;
use seccompiler::BpfProgram;
use seccompiler::SeccompAction;
use seccompiler::SeccompCmpArgLen;
use seccompiler::SeccompCmpOp;
use seccompiler::SeccompCondition;
use seccompiler::SeccompFilter;
use seccompiler::SeccompRule;
use seccompiler::TargetArch;

use super::calls::CALLS;
use super::calls::Call;
use crate::config::Violation;

/// The program that lets the calls of the list through and does `violation` to all others, those of
/// another architecture included.
pub(super) fn compile(violation: Violation) -> Result<BpfProgram, BackendError> {
    let mut rules = BTreeMap::new();
    for call in CALLS {
        rules.insert(call.number, conditions(call)?);
    }
    let refused = match violation {
        Violation::Errno => SeccompAction::Errno(Errno::PERM.raw_os_error().unsigned_abs()),
        Violation::Kill => SeccompAction::KillProcess,
    };
    let machine = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, refused, SeccompAction::Allow, machine)?.try_into()
}

/// An empty list of rules lets a call through whatever its arguments.
fn conditions(call: &Call) -> Result<Vec<SeccompRule>, BackendError> {
    if call.arguments.is_empty() {
        return Ok(Vec::new());
    }
    let conditions = call.arguments.iter().map(|masked| {
        SeccompCondition::new(
            masked.argument,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(masked.mask),
            masked.value,
        )
    });
    Ok(vec![SeccompRule::new(
        conditions.collect::<Result<_, _>>()?,
    )?])
}
