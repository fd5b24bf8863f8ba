//! Against our own server, an outside one, and peers that say what they should not.

mod bad_server;
mod interrupts;
mod our_server;
mod saved_device;
mod vfio_user_crate;

use std::sync::Arc;

use crate::fake_device::FakeDevice;
use crate::server::Server;
use crate::server::ServerOptions;
use crate::server_thread::ServerThread;
use crate::testing::device;

use super::*;

/// A client, the device behind its server, and the server's thread.
struct Pair {
    device: Arc<FakeDevice>,
    client: Client,
    _thread: ServerThread,
}

fn pair() -> Pair {
    pair_with(ServerOptions::default(), ClientOptions::default())
}

fn pair_with(server: ServerOptions, client: ClientOptions) -> Pair {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let device = device();
    let server = Server::with_stream(ours, Arc::clone(&device) as _, server).expect("a server");
    let thread = ServerThread::spawn(server, || {}).expect("a thread");
    Pair {
        device,
        client: Client::with_stream(theirs, client).expect("a client"),
        _thread: thread,
    }
}
