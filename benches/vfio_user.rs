//! What a request over vfio-user costs, beside the server of the `vfio_user` crate.
//!
//! Benchmarking cases, each over a socket of its own, the server in a thread:
//!
//! * `read`: four bytes of configuration space, request to reply
//! * `irqs`: 64 eventfds bound to MSI-X vectors
//!
//! | | server | client |
//! |---|---|---|
//! | `crate` | the crate's | the crate's; 16 eventfds a message, the most its server takes |
//! | `server` | ours | the crate's, the same |
//! | `both` | ours | ours; 64 eventfds in one message |
//!
//! The devices behind both servers keep memory and eventfds, no more; both servers hand eventfds
//! over. The cases take turns in random order, ratios to `crate` are taken within a round, and
//! their median is reported.
//!
//! `--json` prints one JSON object. Without `--bench` (under `cargo test`) all is cut short.

mod median;

use std::fs::File;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread::JoinHandle;
use std::time::Instant;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DeviceFlags;
use irqbroker_vfio_abi::DeviceInfo;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqBind;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqSetAnswer;
use irqbroker_vfio_abi::RegionFlags;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vfio_abi::RegionInfo;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;
use irqbroker_vfio_user::Server;
use irqbroker_vfio_user::ServerOptions;
use irqbroker_vfio_user::ServerThread;
use rustix::event::EventfdFlags;
use serde_json::json;

use crate::median::median;

/// Bytes of configuration space, the one region.
const CONFIG_SIZE: usize = 256;
/// Vectors bound by one `irqs`.
const VECTORS: usize = 64;
/// The most fds that the crate's server takes with one message.
const CRATE_FDS: usize = 16;
/// `VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER`.
const BIND: u32 = 0x24;

/// The device behind our server.
#[derive(Debug)]
struct Memory {
    config: Mutex<[u8; CONFIG_SIZE]>,
    eventfds: Mutex<Vec<Option<OwnedFd>>>,
}

impl Device for Memory {
    fn info(&self) -> Result<DeviceInfo, Errno> {
        Ok(DeviceInfo {
            flags: DeviceFlags::PCI | DeviceFlags::RESET,
            num_regions: RegionIndex::PCI_NUM,
            num_irqs: IrqIndex::PCI_NUM,
            capabilities: Vec::new(),
        })
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Errno> {
        let mut info = RegionInfo::absent_pci(index, 0)?;
        if index == RegionIndex::CONFIG {
            info.flags = RegionFlags::READ | RegionFlags::WRITE;
            info.size = CONFIG_SIZE as u64;
        }
        Ok(info)
    }

    fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo, Errno> {
        let mut info = IrqInfo::absent_pci(index)?;
        if index == IrqIndex::MSIX {
            info.count = u32::try_from(VECTORS).map_err(|_| Errno::EINVAL)?;
        }
        Ok(info)
    }

    fn set_irqs(&self, _: &IrqSet<'_>) -> Result<IrqSetAnswer, Errno> {
        Err(Errno::EINVAL)
    }

    fn bind_irqs(&self, request: IrqBind) -> Result<IrqSetAnswer, Errno> {
        let mut eventfds = self.eventfds.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(request.start).map_err(|_| Errno::EINVAL)?;
        for (slot, fd) in eventfds.iter_mut().skip(start).zip(request.eventfds) {
            *slot = fd;
        }
        Ok(IrqSetAnswer::Done)
    }

    fn region_read(&self, _: RegionIndex, offset: u64, data: &mut [u8]) -> Result<usize, Errno> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let bytes = config.get(start..).and_then(|rest| rest.get(..data.len()));
        data.copy_from_slice(bytes.ok_or(Errno::EINVAL)?);
        Ok(data.len())
    }

    fn region_write(&self, _: RegionIndex, _: u64, _: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn reset(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// The device behind the crate's server.
struct CrateMemory {
    config: [u8; CONFIG_SIZE],
    eventfds: Vec<Option<File>>,
}

impl vfio_user::ServerBackend for CrateMemory {
    fn region_read(&mut self, _: u32, offset: u64, data: &mut [u8]) -> Result<(), io::Error> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.config.get(start..);
        let bytes = bytes.and_then(|rest| rest.get(..data.len()));
        data.copy_from_slice(bytes.ok_or(io::ErrorKind::InvalidInput)?);
        Ok(())
    }

    fn region_write(&mut self, _: u32, _: u64, _: &[u8]) -> Result<(), io::Error> {
        Err(io::ErrorKind::InvalidInput.into())
    }

    fn dma_map(
        &mut self,
        _: vfio_user::DmaMapFlags,
        _: u64,
        _: u64,
        _: u64,
        _: Option<File>,
    ) -> Result<(), io::Error> {
        Ok(())
    }

    fn dma_unmap(&mut self, _: vfio_user::DmaUnmapFlags, _: u64, _: u64) -> Result<(), io::Error> {
        Ok(())
    }

    fn reset(&mut self) -> Result<(), io::Error> {
        Ok(())
    }

    fn set_irqs(
        &mut self,
        _: u32,
        _: u32,
        start: u32,
        _: u32,
        fds: Vec<File>,
    ) -> Result<(), io::Error> {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        for (slot, fd) in self.eventfds.iter_mut().skip(start).zip(fds) {
            *slot = Some(fd);
        }
        Ok(())
    }
}

fn our_server(path: &Path) -> anyhow::Result<ServerThread> {
    let device = Arc::new(Memory {
        config: Mutex::new([0x5a; CONFIG_SIZE]),
        eventfds: Mutex::new((0..VECTORS).map(|_| None).collect()),
    });
    let server = Server::bind(path, device, ServerOptions::default())?;
    Ok(ServerThread::spawn(server, || {})?)
}

fn crate_server(path: &Path) -> anyhow::Result<JoinHandle<()>> {
    let irqs = (0..5)
        .map(|index| vfio_user::IrqInfo {
            index,
            flags: 9,
            count: 64,
        })
        .collect();
    let regions = (0..9)
        .map(|index| {
            let mut region = vfio_user::ServerRegion {
                region_info: Default::default(),
                sparse_areas: Vec::new(),
                mmap_fd: None,
            };
            region.region_info.argsz = 32;
            region.region_info.index = index;
            region.region_info.size = CONFIG_SIZE as u64;
            region
        })
        .collect();
    let server = vfio_user::Server::new(path, true, irqs, regions)?;
    Ok(std::thread::spawn(move || {
        let mut backend = CrateMemory {
            config: [0x5a; CONFIG_SIZE],
            eventfds: (0..VECTORS).map(|_| None).collect(),
        };
        // It ends with its client.
        let _ = server.run(&mut backend);
    }))
}

/// A client of either kind.
enum Peer {
    Crate(vfio_user::Client),
    Ours(Client),
}

impl Peer {
    fn read(&mut self) -> anyhow::Result<()> {
        let mut data = [0; 4];
        match self {
            Self::Crate(client) => client.region_read(7, 0x10, &mut data)?,
            Self::Ours(client) => {
                client.region_read(RegionIndex::CONFIG, 0x10, &mut data)?;
            }
        }
        anyhow::ensure!(data == [0x5a; 4], "read {data:x?}");
        Ok(())
    }

    fn bind(&mut self, eventfds: &[OwnedFd]) -> anyhow::Result<()> {
        match self {
            Self::Crate(client) => {
                for (chunk, fds) in (0u32..).zip(eventfds.chunks(CRATE_FDS)) {
                    let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
                    let count = u32::try_from(raw.len())?;
                    client.set_irqs(2, BIND, chunk * u32::try_from(CRATE_FDS)?, count, &raw)?;
                }
            }
            Self::Ours(client) => {
                let fds: Vec<Option<BorrowedFd<'_>>> =
                    eventfds.iter().map(|fd| Some(fd.as_fd())).collect();
                client.set_irqs(&IrqSet::bind(IrqIndex::MSIX, 0, &fds))?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Scale {
    rounds: usize,
    reads: usize,
    binds: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let scale = if has("--bench") {
        Scale {
            rounds: 101,
            reads: 1000,
            binds: 100,
        }
    } else {
        Scale {
            rounds: 3,
            reads: 50,
            binds: 5,
        }
    };
    let folder = std::env::temp_dir().join(format!("vfio-user-bench-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let result = measure(&folder, scale);
    std::fs::remove_dir_all(&folder)?;
    let rows = result?;
    if has("--json") {
        println!(
            "{}",
            json!({ "vfio_user": rows.iter().map(Row::json).collect::<Vec<_>>() })
        );
    } else {
        for row in &rows {
            println!("{}", row.text());
        }
    }
    Ok(())
}

/// One case and peer.
struct Row {
    case: &'static str,
    peer: &'static str,
    /// Nanoseconds of one operation, a round each.
    times: Vec<f64>,
    ratios: Vec<f64>,
}

impl Row {
    fn json(&self) -> serde_json::Value {
        json!({
            "case": self.case, "peer": self.peer, "rounds": self.times.len(),
            "median_ns": median(self.times.clone()), "ratio_to_crate": median(self.ratios.clone()),
        })
    }

    fn text(&self) -> String {
        format!(
            "{:5} {:7} {:9.0} ns  {:.2} x crate",
            self.case,
            self.peer,
            median(self.times.clone()),
            median(self.ratios.clone())
        )
    }
}

const PEERS: [&str; 3] = ["crate", "server", "both"];

fn measure(folder: &Path, scale: Scale) -> anyhow::Result<Vec<Row>> {
    let path = |name: &str| -> PathBuf { folder.join(name) };
    let thread = crate_server(&path("crate"))?;
    let _server = our_server(&path("server"))?;
    let _both = our_server(&path("both"))?;
    let mut peers = [
        Peer::Crate(vfio_user::Client::new(&path("crate"))?),
        Peer::Crate(vfio_user::Client::new(&path("server"))?),
        Peer::Ours(Client::connect(&path("both"), ClientOptions::default())?),
    ];
    let eventfds = (0..VECTORS)
        .map(|_| rustix::event::eventfd(0, EventfdFlags::CLOEXEC))
        .collect::<Result<Vec<_>, _>>()?;
    let mut random = fastrand::Rng::with_seed(RandomState::new().hash_one(0));
    let mut rows = Vec::new();
    for case in ["read", "irqs"] {
        let mut times: [Vec<f64>; 3] = Default::default();
        for _ in 0..scale.rounds {
            let mut order = [0, 1, 2];
            random.shuffle(&mut order);
            for index in order {
                let peer = &mut peers[index];
                let count = match case {
                    "read" => scale.reads,
                    _ => scale.binds,
                };
                let start = Instant::now();
                for _ in 0..count {
                    match case {
                        "read" => peer.read()?,
                        _ => peer.bind(&eventfds)?,
                    }
                }
                times[index].push(start.elapsed().as_nanos() as f64 / count as f64);
            }
        }
        for (index, peer) in PEERS.into_iter().enumerate() {
            let ratios = times[index].iter().zip(&times[0]);
            rows.push(Row {
                case,
                peer,
                ratios: ratios.map(|(time, base)| time / base).collect(),
                times: times[index].clone(),
            });
        }
    }
    drop(peers);
    // Its server has seen the end of the connection.
    let _ = thread.join();
    Ok(rows)
}
