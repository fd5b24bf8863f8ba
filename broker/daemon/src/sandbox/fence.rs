//! The landlock rules: the few files a running daemon touches.

use std::path::PathBuf;

use landlock::ABI;
use landlock::Access;
use landlock::AccessFs;
use landlock::AccessNet;
use landlock::BitFlags;
use landlock::CompatLevel;
use landlock::Compatible;
use landlock::LandlockStatus;
use landlock::PathBeneath;
use landlock::PathFd;
use landlock::RestrictionStatus;
use landlock::Ruleset;
use landlock::RulesetAttr;
use landlock::RulesetCreatedAttr;
use landlock::RulesetError;
use landlock::RulesetStatus;
use landlock::Scope;

use super::enter::Needs;
use super::outcome::Fenced;

/// Linux 6.12, the first to fence off signals and abstract sockets. Older kernels do as much as they
/// can.
const ASKED: ABI = ABI::V6;

/// What an eventfd is, is read here, of the daemon's own process.
const FDINFO: &str = "/proc/self/fdinfo";

/// Puts the fence up, and says how much of it stands.
///
/// `/proc` makes its inodes anew when they have been forgotten, and a rule is one inode's: the fd
/// that is returned keeps it.
pub(super) fn restrict(needs: &Needs) -> Result<(Fenced, Option<PathFd>), RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ASKED))?
        .handle_access(AccessNet::from_all(ASKED))?
        .scope(Scope::from_all(ASKED))?
        .create()?;
    let fdinfo = PathFd::new(FDINFO).ok();
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut ruleset = ruleset.add_rules(rules(&needs.read, read))?;
    ruleset = ruleset.add_rules(rules(&needs.remove, AccessFs::RemoveFile.into()))?;
    if let Some(fdinfo) = &fdinfo {
        ruleset = ruleset.add_rule(PathBeneath::new(fdinfo, AccessFs::ReadFile))?;
    }
    Ok((fenced(&ruleset.restrict_self()?), fdinfo))
}

/// A folder that is not there needs no rule.
fn rules(
    folders: &[PathBuf],
    access: BitFlags<AccessFs>,
) -> impl Iterator<Item = Result<PathBeneath<PathFd>, RulesetError>> {
    let open = folders.iter().filter_map(|folder| PathFd::new(folder).ok());
    open.map(move |folder| Ok(PathBeneath::new(folder, access)))
}

fn fenced(status: &RestrictionStatus) -> Fenced {
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
        LandlockStatus::NotEnabled => return Fenced::NotEnabled,
        LandlockStatus::NotImplemented => return Fenced::Missing,
    };
    match status.ruleset {
        RulesetStatus::FullyEnforced => Fenced::Fully { abi },
        RulesetStatus::PartiallyEnforced => Fenced::Partly { abi },
        RulesetStatus::NotEnforced => Fenced::NotEnabled,
    }
}
