//! SIGHUP: the configuration anew, all of it or nothing.

use std::cell::Cell;
use std::rc::Rc;

use super::args::ServeArgs;
use super::hosting::Hosting;
use super::notify::Notifier;
use super::options;
use crate::config;
use crate::config::Config;
use crate::config::ReloadError;
use crate::serve::Notes;
use crate::serve::Options;
use crate::trace::LogLevelHandle;

/// Everything a reload reaches.
pub(super) struct Reloader {
    pub(super) args: ServeArgs,
    pub(super) config: Config,
    /// The daemon's user.
    pub(super) own: u32,
    /// The socket's file was made for the daemon's user alone, as nobody else was let in.
    pub(super) closed: bool,
    pub(super) log: Option<LogLevelHandle>,
    pub(super) metrics_links: Rc<Cell<u32>>,
    pub(super) hosting: Option<Hosting>,
    pub(super) notifier: Rc<Notifier>,
    pub(super) notes: Notes,
}

impl Reloader {
    /// Reads the configuration and takes it over, or says why not and changes nothing.
    pub(super) fn reload(&mut self, options: &mut Options) {
        self.notifier.reloading();
        let told = match self.read() {
            Ok((config, changed)) => {
                self.take_over(config, options);
                match changed.is_empty() {
                    true => "nothing changed".to_owned(),
                    false => format!("took over {}", changed.join(", ")),
                }
            }
            Err(error) => {
                tracing::error!("the configuration is not taken over: {error:#}");
                format!("refused: {error:#}")
            }
        };
        self.notifier.status(&told);
        self.notes.borrow_mut().reload = Some(told);
        self.notifier.ready();
    }

    fn read(&self) -> anyhow::Result<(Config, Vec<String>)> {
        let loaded = config::load(&self.args.config, std::env::vars_os())?;
        let changed = config::reload(&self.config, &loaded.config)?;
        let policy = options::options(&loaded.config, &self.args, self.own).policy;
        if self.closed && policy.admits_others(self.own) {
            return Err(ReloadError::Closed.into());
        }
        Ok((loaded.config, changed))
    }

    fn take_over(&mut self, config: Config, options: &mut Options) {
        let socket = std::mem::take(&mut options.socket);
        *options = Options {
            socket,
            ..options::options(&config, &self.args, self.own)
        };
        if let Some(hosting) = &self.hosting {
            hosting.set_budget(&config.vgpu);
        }
        if let Some(log) = &self.log {
            log.set(config.log.level);
        }
        self.metrics_links.set(config.metrics.links);
        self.config = config;
    }
}
