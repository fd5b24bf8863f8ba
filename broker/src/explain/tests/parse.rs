//! Files of a host, good and bad.

use super::*;

#[test]
fn garbage_in_a_hosts_files_is_unknown_and_no_panic() {
    // A fixed seed makes a failure come again.
    let mut seed = 1_u64;
    let mut byte = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_le_bytes()[7]
    };
    let link = bypassed(message(0, 0x52));
    for _ in 0..50 {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in INTEL {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // Half of it as it should be, so that the parsers get beyond their first word.
            let bytes: Vec<u8> = text
                .bytes()
                .map(|good| if byte() < 128 { good } else { byte() })
                .collect();
            fs::write(path, bytes).unwrap();
        }
        let host = HostPosting::read(&HostRoot::at(root.path()));
        let _any = explain(&link, &vm(), &host).to_string();
    }
    let nonsense: Vec<_> = INTEL
        .iter()
        .map(|(path, _)| (*path, "\u{0}x:::.."))
        .collect();
    let host = host(&nonsense);
    assert_eq!(host.entries, None);
    assert_eq!(host.has_posting_iommu(), None);
    assert_eq!(host.apic.as_ref().and_then(Reading::switch), None);
}

#[test]
fn interrupts_rows_are_summed_over_the_processors_and_words_after_them_ignored() {
    let interrupts = Interrupts::parse(ROWS);
    let counts = PostedCounts {
        notified: 120,
        nested: 0,
        woken: 7,
    };
    assert_eq!(interrupts.posted, Some(counts));
    assert_eq!(interrupts.remapped_chip.as_deref(), Some("IR-IO-APIC"));
    assert_eq!(Interrupts::parse("LOC: 1 2 Local"), Interrupts::default());
}

#[test]
fn entries_are_those_below_the_posted_tables_of_all_iommus() {
    let one = PostedEntry {
        source: SourceId(DEVICE.0),
        vector: 0x52,
    };
    assert_eq!(PostedEntry::parse_all(ENTRIES), Some(vec![one]));
    let two = format!("{ENTRIES}\n{ENTRIES}");
    assert_eq!(PostedEntry::parse_all(&two), Some(vec![one; 2]));
    let none = "Remapped Interrupt supported on IOMMU: dmar0\n";
    assert_eq!(PostedEntry::parse_all(none), Some(Vec::new()));
    assert_eq!(PostedEntry::parse_all("something else"), None);
}
