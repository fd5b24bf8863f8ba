//! The handshake on the daemon's side.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::Feature;
use irqbroker_protocol::Hello;
use irqbroker_protocol::Limits;
use irqbroker_protocol::MAX_FDS;
use irqbroker_protocol::MAX_MESSAGE;
use irqbroker_protocol::Scope;
use irqbroker_protocol::VERSION;
use irqbroker_protocol::Welcome;
use irqbroker_protocol::WireError;

use super::claim_fd::ClaimRecord;
use super::claim_fd::ClaimRecordError;
use super::policy::Policy;
use super::state::MOST_ROWS;
use super::state::NewSession;
use super::state::Quotas;

/// What the daemon calls itself.
pub(crate) const DAEMON: &str = concat!("irqbroker ", env!("CARGO_PKG_VERSION"));

/// Bytes kept of what a client calls itself.
const LONGEST_CLIENT: usize = 64;

/// What the daemon says of itself in every handshake.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Greeting {
    pub(crate) run: u64,
    pub(crate) session: u64,
    pub(crate) quotas: Quotas,
    pub(crate) vgpus: bool,
}

/// Decides on a handshake, which may come with a claim record.
///
/// # Errors
///
/// `unsupported-version`, `scope-required`, `invalid-claim-record`.
pub(crate) fn welcome(
    hello: &Hello,
    fds: &mut Vec<OwnedFd>,
    policy: &Policy,
    (uid, gid): (u32, u32),
    greeting: Greeting,
) -> Result<(Welcome, NewSession), WireError> {
    if !hello.versions.contains(&VERSION) {
        return Err(WireError::new(
            ErrorCode::UnsupportedVersion,
            format!("the daemon speaks version {VERSION} only"),
        ));
    }
    let refused = hello
        .scopes
        .iter()
        .find(|&&scope| !policy.grants(uid, gid, scope));
    if let Some(scope) = refused {
        return Err(WireError::new(
            ErrorCode::ScopeRequired,
            format!("uid {uid} gid {gid} may not be {scope}"),
        ));
    }
    let mut scopes = hello.scopes.clone();
    scopes.sort_unstable();
    scopes.dedup();
    // Looked at first: whatever else it is, it is not for this thread to close.
    let is_record = fds.iter().try_for_each(ClaimRecord::check);
    is_record.map_err(|error| refusal(&error))?;
    let record = match fds.pop() {
        Some(memory) => Some(ClaimRecord::from_peer(memory).map_err(|error| refusal(&error))?),
        None if scopes.contains(&Scope::Consumer) => {
            Some(ClaimRecord::create().map_err(|error| refusal(&error))?)
        }
        None => None,
    };
    let mut features = vec![Feature::ClaimRecord.as_str().to_owned()];
    if greeting.vgpus {
        features.push(Feature::Vgpu.as_str().to_owned());
    }
    let new = NewSession {
        uid,
        client: kept(&hello.client),
        scopes,
        linger_ms: hello.linger_ms,
        record: record.map(Rc::new),
    };
    let welcome = Welcome {
        version: VERSION,
        daemon: DAEMON.to_owned(),
        run: greeting.run,
        session: greeting.session,
        features,
        limits: limits(&greeting.quotas),
        claim_record: new.record.is_some(),
    };
    Ok((welcome, new))
}

fn limits(quotas: &Quotas) -> Limits {
    Limits {
        message_bytes: MAX_MESSAGE,
        message_fds: MAX_FDS,
        batch_requests: MAX_FDS,
        objects: quotas.objects,
        requests_per_second: quotas.requests_per_second,
        backlog_bytes: quotas.backlog_bytes,
        linger_ms: quotas.linger_ms,
        link_rows: MOST_ROWS,
    }
}

fn refusal(error: &ClaimRecordError) -> WireError {
    let code = match error {
        ClaimRecordError::NotARecord => ErrorCode::InvalidClaimRecord,
        ClaimRecordError::Kernel(_) => ErrorCode::Internal,
    };
    WireError::new(code, error.to_string())
}

fn kept(client: &str) -> String {
    let mut kept = String::new();
    for char in client.chars().filter(|char| !char.is_control()) {
        if kept.len() + char.len_utf8() > LONGEST_CLIENT {
            break;
        }
        kept.push(char);
    }
    kept
}
