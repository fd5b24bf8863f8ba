//! A VNC viewer that reads as fast as it is sent to.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use irqbroker_vgpu::Head;

use crate::CHECK;
use crate::Failure;
use crate::HEAD;
use crate::Stage;
use crate::guest::Commits;
use crate::last_vblank;
use crate::seen::Seen;

/// A viewer of raw pixels, which asks for more when it has read what came.
struct Viewer {
    socket: TcpStream,
    size: [u8; 4],
    bytes: Vec<u8>,
}

impl Viewer {
    fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(b"RFB 003.008\n\x01\x01")?;
        // Version, one security type, that all is well; then size, format and a name of 9 bytes.
        let mut handshake = [0; 12 + 2 + 4 + 24 + 9];
        socket.read_exact(&mut handshake)?;
        let mut size = [0; 4];
        size.copy_from_slice(&handshake[18..22]);
        Ok(Self {
            socket,
            size,
            bytes: Vec::new(),
        })
    }

    fn ask(&mut self, incremental: u8) -> Result<(), Failure> {
        let mut request = vec![3, incremental, 0, 0, 0, 0];
        request.extend(self.size);
        Ok(self.socket.write_all(&request)?)
    }

    /// Reads an update; none if there is none for a while.
    fn read(&mut self) -> Result<Option<()>, Failure> {
        self.socket.set_read_timeout(Some(CHECK))?;
        let mut header = [0; 4];
        match self.socket.read(&mut header[..1]) {
            Ok(1) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Ok(_) => return Err("the server has closed".into()),
            Err(error) => return Err(error.into()),
        }
        self.socket.set_read_timeout(None)?;
        self.socket.read_exact(&mut header[1..])?;
        for _ in 0..u16::from_be_bytes([header[2], header[3]]) {
            let mut rect = [0; 12];
            self.socket.read_exact(&mut rect)?;
            let side = |at: usize| usize::from(u16::from_be_bytes([rect[at], rect[at + 1]]));
            self.bytes.resize(side(4) * side(6) * 4, 0);
            self.socket.read_exact(&mut self.bytes)?;
        }
        Ok(Some(()))
    }

    fn watch(&mut self, head: &Head, commits: &Commits, length: Duration) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        let end = Instant::now() + length;
        while Instant::now() < end {
            if self.read()?.is_some() {
                seen.wakeups += 1;
                let vblank = last_vblank(head);
                seen.flipped(commits.shown_at(vblank), vblank, None);
                self.ask(1)?;
            }
        }
        Ok(seen)
    }
}

/// A viewer that comes and goes, so that the server looks at nothing in other rounds.
pub(crate) fn viewer(stage: &Stage<'_>, length: Duration) -> Result<Seen, Failure> {
    let head = stage.device.instance().head(HEAD).ok_or("no head")?;
    let mut viewer = Viewer::connect(stage.address)?;
    viewer.ask(0)?;
    while viewer.read()?.is_none() {}
    viewer.ask(1)?;
    viewer.watch(head, stage.commits, length)
}
