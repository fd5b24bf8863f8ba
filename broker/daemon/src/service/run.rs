//! From arguments to a daemon that serves: open everything, give everything else up, say so.

use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Context;
use serde::Serialize;

use super::activation;
use super::args::ServeArgs;
use super::hosting::Hosting;
use super::notify::Notifier;
use super::options;
use super::reload::Reloader;
use super::scrape::Scrape;
use crate::config;
use crate::config::CheckReport;
use crate::config::Config;
use crate::config::Loaded;
use crate::failure::Detail;
use crate::metrics::MetricsEndpoint;
use crate::output::Output;
use crate::sandbox;
use crate::sandbox::Needs;
use crate::serve::ControlSocket;
use crate::serve::Hooks;
use crate::serve::Notes;
use crate::serve::Server;
use crate::trace;
use crate::vgpu_host::VgpuHosts;

/// What is told once peers can connect.
#[derive(Debug, Serialize)]
struct Serving {
    socket: PathBuf,
    pid: u32,
    metrics: String,
    sandbox: String,
}

/// The commented defaults.
#[derive(Debug, Serialize)]
struct DefaultFile {
    file: &'static str,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// The configuration is wrong, something cannot be opened, or the daemon not be confined as it was told.
pub(crate) fn run(args: &ServeArgs, detail: Detail, output: &Output) -> anyhow::Result<()> {
    if args.default_config {
        return output.print(&DefaultFile {
            file: config::DEFAULT_FILE,
        });
    }
    let loaded = config::load(&args.config, std::env::vars_os())?;
    match args.check {
        true => output.print(&CheckReport::from(loaded)),
        false => serve(args, loaded, detail, output),
    }
}

fn serve(args: &ServeArgs, loaded: Loaded, detail: Detail, output: &Output) -> anyhow::Result<()> {
    let Loaded { config, file, .. } = loaded;
    let log = match detail {
        Detail::Outermost => Some(trace::install_daemon(config.log.level)),
        // All of it is shown already.
        Detail::Chain => None,
    };
    let own = rustix::process::geteuid().as_raw();
    let options = options::options(&config, args, own);
    let notify_socket = std::env::var_os("NOTIFY_SOCKET");
    let notifier = Notifier::connect(notify_socket.as_deref());
    let notifier = Rc::new(notifier.context("cannot reach the service manager")?);
    // The control socket first: who has it is the daemon, and may look after the vGPUs.
    let socket = control_socket(&config, &options.policy, own)?;
    let closed = socket.is_own()
        && config.control.mode.bits().is_none()
        && !options.policy.admits_others(own);
    let mut hooks = Hooks::default();
    let hosting = match config.vgpu.max_devices {
        0 => None,
        _ => {
            let run_dir = config.vgpu.run_dir.of(socket.path());
            Some(Hosting::new(VgpuHosts::start(&config.vgpu, run_dir)?))
        }
    };
    if let Some(hosting) = &hosting {
        hooks.extras.push(hosting.extra()?);
        hooks.vgpus = Some(Box::new(hosting.clone()));
    }
    let metrics_links = Rc::new(Cell::new(config.metrics.links));
    let mode = config.control.mode.bits().unwrap_or(0o600);
    if let Some(endpoint) = MetricsEndpoint::bind(&config.metrics.listen, mode)? {
        hooks.extras.push(Box::new(Scrape {
            endpoint,
            links: Rc::clone(&metrics_links),
        }));
    }
    let notes = Notes::default();
    hooks.notes = Rc::clone(&notes);
    let needs = needs(&config, socket.path(), file.as_deref());
    let told = Serving {
        socket: socket.path().to_owned(),
        pid: std::process::id(),
        metrics: config.metrics.listen.to_string(),
        // Known once it is entered.
        sandbox: String::new(),
    };
    hooks.before_loop = Some(before_loop(
        config.sandbox,
        needs,
        told,
        &notes,
        &notifier,
        *output,
    ));
    let mut reloader = Reloader {
        args: args.clone(),
        config,
        own,
        closed,
        log,
        metrics_links,
        hosting,
        notifier: Rc::clone(&notifier),
        notes,
    };
    hooks.reload = Some(Box::new(move |options| reloader.reload(options)));
    let served = Server::new(socket, options, hooks)?.serve();
    notifier.stopping();
    served
}

/// The socket the service manager opened, or one of our own.
fn control_socket(
    config: &Config,
    policy: &crate::serve::Policy,
    own: u32,
) -> anyhow::Result<ControlSocket> {
    if let Some(socket) = activation::take()? {
        return ControlSocket::adopt(socket);
    }
    let path = config.control.socket.as_path();
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        let cannot = |error| {
            let text = format!(
                "cannot make {}: {error}; give --socket a path in a directory this user may write",
                folder.display()
            );
            anyhow::Error::new(error).context(text)
        };
        std::fs::create_dir_all(folder).map_err(cannot)?;
    }
    let mode = config
        .control
        .mode
        .bits()
        .unwrap_or(match policy.admits_others(own) {
            // Who may do what is decided by credentials.
            true => 0o666,
            false => 0o600,
        });
    ControlSocket::bind(path, mode)
}

/// Confines the daemon, and then says that it serves.
fn before_loop(
    sandbox: config::Sandbox,
    needs: Needs,
    told: Serving,
    notes: &Notes,
    notifier: &Rc<Notifier>,
    output: Output,
) -> crate::serve::BeforeLoop {
    let (notes, notifier) = (Rc::clone(notes), Rc::clone(notifier));
    Box::new(move |closer| {
        // Before the filter, which lets no thread be started; they need no file at all.
        closer.start(move || {
            let _confined = sandbox::enter(&sandbox, &Needs::default())?;
            Ok(())
        })?;
        let sandboxed = sandbox::enter(&sandbox, &needs)?;
        let standing = sandboxed.outcome.to_string();
        // For the rest of the process's life, as the sandbox is.
        std::mem::forget(sandboxed);
        notes.borrow_mut().sandbox = Some(standing.clone());
        output.print(&Serving {
            sandbox: standing.clone(),
            ..told
        })?;
        notifier.status(&standing);
        notifier.ready();
        Ok(())
    })
}

/// The folders a running daemon touches.
fn needs(config: &Config, socket: &Path, file: Option<&Path>) -> Needs {
    let folder = |path: &Path| path.parent().map(Path::to_owned);
    let metrics = match &config.metrics.listen {
        config::MetricsAddress::Unix(path) => folder(path.as_path()),
        config::MetricsAddress::Off | config::MetricsAddress::Loopback(_) => None,
    };
    let control = folder(socket);
    // One that is not there yet may be at a reload; one that is may be a link into another folder.
    let file = file.unwrap_or(Path::new(config::FILE));
    let target = file.canonicalize().ok();
    let read = [folder(file), target.as_deref().and_then(folder)];
    Needs {
        read: read.into_iter().flatten().collect(),
        remove: control.into_iter().chain(metrics).collect(),
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "serving on {}, process {}",
            self.socket.display(),
            self.pid
        )?;
        writeln!(f, "{}; metrics {}", self.sandbox, self.metrics)
    }
}

impl fmt::Display for DefaultFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file)
    }
}
