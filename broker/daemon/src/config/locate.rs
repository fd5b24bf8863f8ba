//! Where in a file an error is: its line and its key.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub(super) line: usize,
    /// The innermost key; none where the text is no TOML, or outside of any.
    pub(super) key: Option<String>,
}

/// The place of `span` in `text`.
pub(super) fn place(text: &str, span: Option<Range<usize>>) -> Place {
    let at = span.map_or(0, |span| span.start).min(text.len());
    let line = line(text.as_bytes(), at);
    let key = match DeTable::parse(text) {
        Ok(table) => innermost(table.get_ref(), at, ""),
        Err(_) => written(text, at),
    };
    Place { line, key }
}

/// The line of a byte, from 1.
pub(super) fn line(text: &[u8], at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// The key as it is written where the text as a whole is no TOML: on the line of `at`, below the last header.
fn written(text: &str, at: usize) -> Option<String> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let own = text.get(start..)?.lines().next()?;
    if let Some(header) = header(own) {
        return Some(header.to_owned());
    }
    let (name, _) = own.split_once('=')?;
    let name = name.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return None;
    }
    let section = text.get(..start)?.lines().rev().find_map(header);
    Some(section.map_or(name.to_owned(), |section| format!("{section}.{name}")))
}

/// The name in `[name]`.
fn header(line: &str) -> Option<&str> {
    let (name, _) = line.trim().strip_prefix('[')?.split_once(']')?;
    Some(name.trim())
}

fn innermost(table: &DeTable<'_>, at: usize, prefix: &str) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let key = match prefix {
            "" => name.get_ref().to_string(),
            prefix => format!("{prefix}.{}", name.get_ref()),
        };
        let within = match value.get_ref() {
            // The span of `[a.b]` is that of its header alone, so each table is looked into.
            DeValue::Table(inner) => innermost(inner, at, &key),
            _ => None,
        };
        within.or_else(|| (name.span().contains(&at) || holds(value, at)).then_some(key))
    })
}

fn holds(value: &Spanned<DeValue<'_>>, at: usize) -> bool {
    value.span().contains(&at)
}
