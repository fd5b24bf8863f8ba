//! From arguments to a daemon that serves.

use std::fmt;

use irqbroker_protocol::Scope;
use serde::Serialize;

use super::args::ServeArgs;
use super::hooks::Hooks;
use super::options::Options;
use super::policy::Policy;
use super::policy::Rule;
use super::policy::Who;
use super::server::Server;
use super::state::Quotas;
use crate::output::Output;

/// What is told once peers can connect.
#[derive(Debug, Serialize)]
struct Serving {
    socket: String,
    pid: u32,
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "serving on {}, process {}", self.socket, self.pid)
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// The socket could not be had, or the kernel refused what the loop needs.
pub(crate) fn run(args: &ServeArgs, output: &Output) -> anyhow::Result<()> {
    let mut server = Server::new(options(args), Hooks::default())?;
    output.print(&Serving {
        socket: args.socket.display().to_string(),
        pid: std::process::id(),
    })?;
    server.serve()
}

fn options(args: &ServeArgs) -> Options {
    let mut policy = Policy::new(rustix::process::geteuid().as_raw());
    let uids = args.allow_uids.iter().map(|&uid| Who::Uid(uid));
    let gids = args.allow_gids.iter().map(|&gid| Who::Gid(gid));
    policy.rules.extend(uids.chain(gids).map(|who| Rule {
        who,
        scopes: vec![Scope::Producer, Scope::Consumer, Scope::ReadOnly],
    }));
    Options {
        socket: args.socket.clone(),
        policy,
        quotas: Quotas::default(),
    }
}
