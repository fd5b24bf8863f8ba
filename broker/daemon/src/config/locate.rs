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
    let before = text.as_bytes().get(..at).unwrap_or_default();
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    let key = DeTable::parse(text)
        .ok()
        .and_then(|table| innermost(table.get_ref(), at, ""));
    Place { line, key }
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
