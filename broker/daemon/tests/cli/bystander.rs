//! Somebody who must not notice what others do.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::ensure;
use irqbroker_protocol::Client;
use irqbroker_protocol::Connection;
use irqbroker_protocol::ConsumerTakes;
use irqbroker_protocol::Request;

use crate::serve_rig::Daemon;
use crate::serve_rig::ask;
use crate::serve_rig::consumer;
use crate::serve_rig::eventfd;
use crate::serve_rig::producer;
use crate::serve_rig::signal;
use crate::serve_rig::wait_taken;

/// A link that works before and after whatever else a story does.
pub(crate) struct Bystander {
    _client: Client,
    source: OwnedFd,
    sink: OwnedFd,
}

impl Bystander {
    pub(crate) fn new(daemon: &Daemon) -> anyhow::Result<Self> {
        let (mut client, source, sink) = (daemon.client()?, eventfd()?, eventfd()?);
        ask(
            &mut client,
            &Request::RegisterProducer(producer("by")?),
            &[&source],
        )?;
        let request = Request::RegisterConsumer(consumer("by", ConsumerTakes::OwnRead)?);
        ask(&mut client, &request, &[&sink])?;
        Ok(Self {
            _client: client,
            source,
            sink,
        })
    }

    /// It still works.
    pub(crate) fn works(&self) -> anyhow::Result<()> {
        signal(&self.source)?;
        ensure!(wait_taken(&self.sink)? == 1);
        Ok(())
    }
}

/// A socket to the daemon, without a handshake.
pub(crate) fn raw(daemon: &Daemon) -> anyhow::Result<Connection> {
    Ok(Connection::connect(Path::new(&daemon.socket))?)
}
