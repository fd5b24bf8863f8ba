use super::*;

/// What QEMU 11.1 proposes, as it comes over the wire.
const QEMU: &str = concat!(
    r#"{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "#,
    r#""max_data_xfer_size": 1048576, "migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "#,
    r#""write_multiple": true}}"#
);

fn payload(major: u16, minor: u16, text: &[u8]) -> Vec<u8> {
    let mut payload = VersionWire { major, minor }.as_bytes().to_vec();
    payload.extend_from_slice(text);
    payload
}

fn decode_text(text: &str) -> Result<Capabilities, VersionError> {
    Version::decode(&payload(0, 0, format!("{text}\0").as_bytes()))
        .map(|version| version.capabilities)
}

#[test]
fn version_of_qemu_is_read() {
    let capabilities = decode_text(QEMU).expect("qemu's text");

    assert_eq!(
        capabilities,
        Capabilities {
            max_msg_fds: Some(16),
            max_data_xfer_size: Some(1 << 20),
            max_dma_maps: Some(65535),
            pgsizes: Some(4096),
            write_multiple: Some(true),
            twin_socket: None,
            migration: Some(Migration {
                pgsize: Some(4096),
                max_bitmap_size: Some(1 << 28),
            }),
            irqbroker: None,
        }
    );
}

#[test]
fn version_without_text_means_the_defaults() {
    let version = Version::decode(&payload(0, 1, b"")).expect("the text is optional");

    assert_eq!(version.minor, 1);
    assert_eq!(version.capabilities.max_msg_fds(), 1);
    assert_eq!(version.capabilities.max_data_xfer_size(), 1 << 20);
    assert_eq!(version.capabilities.gfx(), 0);
}

#[test]
fn unknown_keys_are_passed_over() {
    let text = r#"{"vendor":{"a":[1,{"b":null}]},"capabilities":{"max_msg_fds":2,"later":"x"}}"#;

    let capabilities = decode_text(text).expect("unknown keys");

    assert_eq!(capabilities.max_msg_fds(), 2);
}

#[test]
fn number_beyond_the_machine_saturates() {
    let capabilities = decode_text(&format!(
        r#"{{"capabilities":{{"max_data_xfer_size":{}}}}}"#,
        u64::MAX
    ));

    assert_eq!(
        capabilities.expect("a number").max_data_xfer_size(),
        usize::MAX
    );
}

#[test]
fn version_survives_the_wire() {
    let version = Version {
        major: PROTOCOL_MAJOR,
        minor: 3,
        capabilities: Capabilities {
            max_msg_fds: Some(64),
            twin_socket: Some(TwinSocket {
                supported: Some(false),
                fd_index: None,
            }),
            irqbroker: Some(Irqbroker {
                gfx: Some(1),
                ..Irqbroker::default()
            }),
            ..Capabilities::default()
        },
    };

    let payload = version.encode().expect("numbers");

    assert_eq!(payload.last(), Some(&0));
    assert_eq!(Version::decode(&payload).expect("our own"), version);
}

#[test]
fn version_cut_off_in_its_numbers_is_refused() {
    assert!(matches!(
        Version::decode(&[0, 0, 0]),
        Err(VersionError::Short { len: 3 })
    ));
}

#[test]
fn another_major_version_is_refused_whatever_its_text() {
    assert!(matches!(
        Version::decode(&payload(1, 7, b"\xff")),
        Err(VersionError::Major { major: 1, minor: 7 })
    ));
}

#[test]
fn text_without_nul_is_refused() {
    assert!(matches!(
        Version::decode(&payload(0, 0, b"{}")),
        Err(VersionError::NotTerminated)
    ));
}

#[test]
fn text_that_is_no_json_or_no_utf_8_or_of_wrong_types_is_refused() {
    for text in [
        "{",
        "",
        "[]x",
        "{}\0{}",
        r#"{"capabilities":7}"#,
        r#"{"capabilities":{"max_msg_fds":-1}}"#,
        r#"{"capabilities":{"max_msg_fds":1.5}}"#,
        r#"{"capabilities":{"max_msg_fds":"8"}}"#,
        r#"{"capabilities":{"write_multiple":1}}"#,
        r#"{"capabilities":{"twin_socket":true}}"#,
        r#"{"capabilities":{"irqbroker":[{}]}}"#,
    ] {
        assert!(
            matches!(decode_text(text), Err(VersionError::Json(_))),
            "{text}"
        );
    }
    assert!(matches!(
        Version::decode(&payload(0, 0, b"{\"\xff\xfe\":1}\0")),
        Err(VersionError::Json(_))
    ));
}

#[test]
fn text_nested_a_million_deep_is_refused() {
    let text = "[".repeat(1_000_000);

    assert!(matches!(decode_text(&text), Err(VersionError::Json(_))));
}
