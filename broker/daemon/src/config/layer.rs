//! What one source says: a file, a variable, a flag. Each is checked by itself.

use std::path::Path;

use toml::Table;
use toml::Value;

use super::error::ConfigError;
use super::key;
use super::locate;
use super::schema::Config;

/// What a file says.
pub(super) fn file(path: &Path, text: &str) -> Result<Table, ConfigError> {
    let refused = |error: toml::de::Error| {
        let place = locate::place(text, error.span());
        ConfigError::File {
            path: path.to_owned(),
            line: place.line,
            key: place.key,
            message: error.message().trim().replace('\n', ", "),
        }
    };
    let _checked: Config = toml::from_str(text).map_err(refused)?;
    toml::from_str(text).map_err(refused)
}

/// What a variable or a flag says of one key: a TOML value, or a string without its quotes.
pub(super) fn setting(origin: &str, key: &str, text: &str) -> Result<Table, ConfigError> {
    let bare = key::table(key, Value::String(text.to_owned()));
    let quoted = match value(text) {
        Some(value) => key::table(key, value),
        None => bare.clone(),
    };
    let refused = match checked(&quoted) {
        Ok(()) => return Ok(quoted),
        Err(error) => error,
    };
    if checked(&bare).is_ok() {
        return Ok(bare);
    }
    Err(ConfigError::Setting {
        origin: origin.to_owned(),
        key: key.to_owned(),
        message: refused.message().trim().replace('\n', ", "),
    })
}

fn checked(table: &Table) -> Result<(), toml::de::Error> {
    table.clone().try_into::<Config>().map(drop)
}

/// A value by itself, as it stands right of `=`.
fn value(text: &str) -> Option<Value> {
    // One line, so that a value cannot bring further keys along.
    let line = (!text.contains(['\n', '\r'])).then(|| format!("value = {text}"))?;
    let mut table: Table = toml::from_str(&line).ok()?;
    table.remove("value")
}
