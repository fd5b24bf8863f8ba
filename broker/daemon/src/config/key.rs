//! Keys as operators write them: `section.key`.

use std::collections::BTreeSet;
use std::ffi::OsString;

use toml::Table;
use toml::Value;

use super::schema::Config;

/// The name a key has in the environment: `control.socket` is `IRQBROKER_CONTROL_SOCKET`.
pub(super) fn variable(key: &str) -> String {
    format!("IRQBROKER_{}", key.replace('.', "_").to_uppercase())
}

/// A variable that begins as those of the configuration do and is none of them, if there is one. What begins
/// otherwise may be anybody's.
pub(super) fn mistyped<'a>(
    leaves: &[(String, Value)],
    variables: impl IntoIterator<Item = &'a OsString>,
) -> Option<String> {
    let known: BTreeSet<String> = leaves.iter().map(|(key, _)| variable(key)).collect();
    let sections: BTreeSet<String> = leaves
        .iter()
        .filter_map(|(key, _)| key.split('.').next())
        .map(|section| format!("{}_", variable(section)))
        .collect();
    let names = variables.into_iter().filter_map(|name| name.to_str());
    // The first by name: which it is shall not change from run to run.
    names
        .filter(|name| sections.iter().any(|section| name.starts_with(section)))
        .filter(|name| !known.contains(*name))
        .min()
        .map(str::to_owned)
}

/// Every key there is, with its value.
pub(super) fn leaves(config: &Config) -> Vec<(String, Value)> {
    // Every type of the schema has a form in TOML; a test looks at what comes out.
    let table = Table::try_from(config).unwrap_or_default();
    let mut found = Vec::new();
    collect("", &table, &mut found);
    found
}

fn collect(prefix: &str, table: &Table, found: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let key = match prefix {
            "" => name.clone(),
            prefix => format!("{prefix}.{name}"),
        };
        match value {
            Value::Table(inner) => collect(&key, inner, found),
            leaf => found.push((key, leaf.clone())),
        }
    }
}

/// A table that says nothing but `key = value`.
pub(super) fn table(key: &str, value: Value) -> Table {
    let mut names = key.rsplit('.');
    let mut inner = Table::new();
    inner.insert(names.next().unwrap_or_default().to_owned(), value);
    names.fold(inner, |inner, name| {
        let mut outer = Table::new();
        outer.insert(name.to_owned(), Value::Table(inner));
        outer
    })
}

/// Puts what `over` says over what `under` says.
pub(super) fn merge(under: &mut Table, over: Table) {
    for (name, value) in over {
        match (under.get_mut(&name), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(name, value);
            }
        }
    }
}
