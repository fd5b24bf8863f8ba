//! How many fds there are for peers: the limit on open files less what the daemon needs itself.

use irqbroker_protocol::MAX_FDS;
use rustix::process::Resource;

use super::state::Quotas;

/// Fds of a connection: its socket, and its claim record.
pub(crate) const FDS_OF_A_CONNECTION: usize = 2;

/// Fds the daemon opens now and then: connections of scrapers, what it reads of `/proc`, the
/// configuration at a reload.
const NOW_AND_THEN: usize = 32;

/// What there is for peers. Beyond it the kernel would refuse the fds of whoever comes next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FdBudget {
    /// For all peers together.
    all: usize,
}

impl FdBudget {
    /// Raises the limit on open files as far as the system allows, and sees what that leaves.
    pub(crate) fn of_this_process() -> Self {
        let mut limit = rustix::process::getrlimit(Resource::Nofile);
        let soft = limit.current;
        limit.current = limit.maximum;
        let open = match rustix::process::setrlimit(Resource::Nofile, limit) {
            Ok(()) => limit.maximum,
            Err(error) => {
                tracing::warn!(%error, "the limit on open files stays as it is");
                soft
            }
        };
        let open = open.and_then(|open| usize::try_from(open).ok());
        Self::new(open.unwrap_or(usize::MAX), own_fds())
    }

    /// Of `limit` open files, of which `own` are the daemon's.
    fn new(limit: usize, own: usize) -> Self {
        // The fds of one message, and some. Of a low limit a part.
        let in_flight = MAX_FDS.min(limit / 4);
        let now_and_then = NOW_AND_THEN.min(limit / 8);
        Self {
            all: limit.saturating_sub(own + in_flight + now_and_then),
        }
    }

    /// Lowers quotas that promise more than there is: no uid gets all of it.
    pub(crate) fn bound(self, quotas: &mut Quotas) {
        let of_a_uid = self.all - self.all / 16;
        if quotas.fds > of_a_uid {
            let asked = quotas.fds;
            // Nobody asked for the default.
            if asked == Quotas::default().fds {
                tracing::debug!("the limit on open files allows a uid {of_a_uid} fds");
            } else {
                tracing::warn!(
                    "quotas.fds is {asked} where the limit on open files allows {of_a_uid}: that holds"
                );
            }
            quotas.fds = of_a_uid;
        }
        let connections = (self.all / 4).max(1);
        if quotas.connections > connections {
            tracing::warn!(
                "quotas.connections is {} where the limit on open files allows {connections}: \
                 that holds",
                quotas.connections
            );
            quotas.connections = connections;
        }
        quotas.all_fds = self.all;
    }
}

/// What is open now.
fn own_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(NOW_AND_THEN, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a daemon has open when it starts.
    const OWN: usize = 20;

    #[test]
    fn bound_leaves_quotas_that_fit_as_they_are() {
        let mut quotas = Quotas::default();
        FdBudget::new(1 << 20, OWN).bound(&mut quotas);
        let expected = Quotas {
            all_fds: quotas.all_fds,
            ..Quotas::default()
        };
        assert_eq!(quotas, expected);
    }

    #[test]
    fn bound_under_any_limit_leaves_fds_to_other_uids_and_to_the_daemon() {
        // From what a shell may be given to what a host may have.
        for limit in [64, 256, 1024, 20_000, 1 << 20] {
            let mut quotas = Quotas::default();
            FdBudget::new(limit, OWN).bound(&mut quotas);
            assert!(quotas.fds < quotas.all_fds, "{limit}: {quotas:?}");
            let connections = quotas.connections * FDS_OF_A_CONNECTION;
            assert!(connections <= quotas.all_fds / 2, "{limit}: {quotas:?}");
            assert!(quotas.all_fds + OWN < limit, "{limit}: {quotas:?}");
        }
    }
}
