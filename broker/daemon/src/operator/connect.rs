//! Which daemon is asked, and with what right.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use irqbroker_protocol::Client;
use irqbroker_protocol::ClientError;
use irqbroker_protocol::Hello;
use irqbroker_protocol::ReceiveError;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use irqbroker_protocol::SendError;
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use crate::config;
use crate::failure;

/// The variable that names the daemon's socket, the same that configures the daemon.
const VARIABLE: &str = "IRQBROKER_CONTROL_SOCKET";

/// How long each answer may take: a thousand times what it does on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Which daemon is asked.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ControlArgs {
    /// The daemon's control socket; IRQBROKER_CONTROL_SOCKET if not given, then
    /// /run/irqbroker/control.sock
    #[arg(long, alias = "control", value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl ControlArgs {
    /// The daemon at this control socket, if one is given.
    pub(crate) fn at(socket: Option<PathBuf>) -> Self {
        Self { socket }
    }

    /// Whether it is given with the command: one that is not there is an error then.
    pub(crate) fn is_named(&self) -> bool {
        self.socket.is_some()
    }

    /// Connects to look.
    ///
    /// # Errors
    ///
    /// No daemon answers, or this user may not.
    pub(crate) fn look(&self) -> anyhow::Result<Client> {
        self.connect(Scope::ReadOnly)
    }

    /// Connects to change something.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look).
    pub(crate) fn operate(&self) -> anyhow::Result<Client> {
        self.connect(Scope::Operator)
    }

    fn connect(&self, scope: Scope) -> anyhow::Result<Client> {
        let variable = std::env::var_os(VARIABLE).map(PathBuf::from);
        let socket = self.socket.clone().or(variable);
        let socket = socket.unwrap_or_else(|| config::SOCKET.into());
        let hello = Hello::new("irqbroker", &[scope]);
        Client::connect_within(&socket, &hello, ANSWER_LIMIT).map_err(told)
    }
}

/// Asks, and puts a refusal into words.
///
/// # Errors
///
/// The daemon's refusal, or what became of the connection.
pub(crate) fn ask<T: DeserializeOwned>(
    client: &mut Client,
    request: &Request,
) -> anyhow::Result<T> {
    client.ask(request).map_err(told)
}

/// The outermost text of a refusal says only that it is one, and what else goes wrong says nothing
/// without its cause.
pub(crate) fn told(error: ClientError) -> anyhow::Error {
    let text = match &error {
        ClientError::Connect { path, source } if *source == Errno::ACCESS => Some(format!(
            "this user may not connect to {}; the daemon's allow-lists are empty, or its directory is closed",
            path.display()
        )),
        ClientError::Refused(refusal) => Some(format!("{}: {}", refusal.code, refusal.text)),
        ClientError::Silent { path } => Some(format!(
            "the daemon at {} does not answer; it is stopped or hangs",
            path.display()
        )),
        ClientError::Receive(ReceiveError::Closed)
        | ClientError::Send(SendError::Socket { .. }) => Some(
            "the daemon has closed the connection; `irqbroker status` shows whether one answers"
                .to_owned(),
        ),
        ClientError::Receive(source) => Some(format!("the daemon does not answer: {source}")),
        _ => None,
    };
    match text {
        Some(text) => anyhow::Error::new(error).context(super::printable(&text).into_owned()),
        None => {
            let whole = failure::with_causes(error.into()).to_string();
            anyhow::Error::msg(super::printable(&whole).into_owned())
        }
    }
}
