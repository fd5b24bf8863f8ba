//! Puts the sources together: flags over the environment over the file over the defaults.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use toml::Table;

use super::args::ConfigArgs;
use super::error::ConfigError;
use super::key;
use super::layer;
use super::locate;
use super::schema::Config;

/// What is read if nothing else is said.
pub(crate) const FILE: &str = "/etc/irqbroker/irqbroker.toml";
/// Names the file where no flag does.
const FILE_VARIABLE: &str = "IRQBROKER_CONFIG";

/// A configuration and where it is from.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// What holds.
    pub(crate) config: Config,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// The variables and flags that said something, in the order in which they were put over it.
    pub(crate) settings: Vec<String>,
}

/// Reads everything anew. `environment` is all there is of it.
///
/// # Errors
///
/// The first thing that is wrong, with its place; see [`ConfigError`].
pub(crate) fn load(
    args: &ConfigArgs,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let environment: HashMap<OsString, OsString> = environment.into_iter().collect();
    let file = file(args, &environment);
    let (mut table, file) = match file {
        Some(path) => (read(&path)?, Some(path)),
        None => match read(Path::new(FILE)) {
            Ok(table) => (table, Some(FILE.into())),
            Err(ConfigError::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                (Table::new(), None)
            }
            Err(error) => return Err(error),
        },
    };
    let mut settings = Vec::new();
    let mut put = |origin: &str, key: &str, text: &str| {
        key::merge(&mut table, layer::setting(origin, key, text)?);
        settings.push(origin.to_owned());
        Ok::<(), ConfigError>(())
    };
    let leaves = key::leaves(&Config::default());
    for (key, _) in &leaves {
        let variable = key::variable(key);
        if let Some(value) = environment.get(OsStr::new(&variable)) {
            put(&variable, key, &value.to_string_lossy())?;
        }
    }
    if let Some(variable) = key::mistyped(&leaves, environment.keys()) {
        return Err(ConfigError::UnknownVariable { variable });
    }
    for setting in &args.settings {
        let refused = || ConfigError::NotASetting {
            setting: format!("--set {setting}"),
        };
        let (key, value) = setting.split_once('=').ok_or_else(refused)?;
        put("--set", key.trim(), value.trim())?;
    }
    for (flag, key, value) in args.given() {
        put(flag, key, &value)?;
    }
    let config = table.try_into().map_err(|error: toml::de::Error| {
        // Each part has been checked: this is a whole that its parts do not make.
        ConfigError::Setting {
            origin: "configuration".to_owned(),
            key: "all".to_owned(),
            message: error.message().to_owned(),
        }
    })?;
    Ok(Loaded {
        config,
        file,
        settings,
    })
}

fn file(args: &ConfigArgs, environment: &HashMap<OsString, OsString>) -> Option<PathBuf> {
    let named = environment.get(OsStr::new(FILE_VARIABLE));
    let named = named.filter(|name| !name.is_empty());
    args.config.clone().or(named.map(PathBuf::from))
}

fn read(path: &Path) -> Result<Table, ConfigError> {
    let bytes = std::fs::read(path).map_err(|cause| ConfigError::Read {
        path: path.to_owned(),
        cause,
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|error| ConfigError::File {
        path: path.to_owned(),
        line: locate::line(&bytes, error.valid_up_to()),
        key: None,
        message: "a byte that is not UTF-8".to_owned(),
    })?;
    layer::file(path, text)
}
