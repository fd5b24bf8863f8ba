//! Objects and lists: a list in an object's place would pass for one.
//!
//! `serde` takes the fields of a struct from a list too, by their order, which is nobody's contract.

use serde::Deserialize;
use serde::Deserializer;
use serde_json::Value;
use serde_json::value::RawValue;

/// The fields that are lists.
const LISTS: [&str; 4] = ["versions", "scopes", "requests", "affinity"];

/// Whether JSON is an object.
pub(crate) fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().starts_with(b"{")
}

/// Whether there is at most one list: that of a batch's requests, and none in an object's place.
pub(crate) fn has_one_list(json: &[u8]) -> bool {
    json.iter().filter(|byte| **byte == b'[').count() <= 1
}

/// Whether a list stands in a body where no field is one.
pub(crate) fn misplaces_a_list(body: &str) -> bool {
    // Most bodies have none, and are not read twice.
    body.contains('[') && serde_json::from_str(body).is_ok_and(|body| has_other_list(&body))
}

fn has_other_list(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| match value {
            Value::Array(list) if LISTS.contains(&name.as_str()) => list.iter().any(has_other_list),
            value => has_other_list(value),
        }),
        Value::Array(_) => true,
        _ => false,
    }
}

/// A value that is there, if only as `null`.
pub(crate) fn there<'de, D: Deserializer<'de>>(json: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(json).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_misplaced_unless_its_field_is_one() {
        for body in [
            r#"{"affinity":[1,2]}"#,
            r#"{"requests":[{"type":"report","body":{"affinity":[]}}]}"#,
            r#"{"reason":{"text":"[1]"}}"#,
            r#"{"name":"[" broken"#,
        ] {
            assert!(!misplaces_a_list(body), "{body}");
        }
        for body in [
            "[1]",
            r#"{"message":[1,2]}"#,
            r#"{"route":{"msi":[1,2,3]}}"#,
            r#"{"requests":[["report",{}]]}"#,
            r#"{"requests":[{"type":"report","body":["a"]}]}"#,
        ] {
            assert!(misplaces_a_list(body), "{body}");
        }
    }
}
