//! The host's remapping entries that post, as debugfs shows them.

use posted_irq::SourceId;

/// Above the entries of each IOMMU that posts (`drivers/iommu/intel/debugfs.c`).
const POSTED_TABLE: &str = "Posted Interrupt supported on IOMMU:";
const REMAPPED_TABLE: &str = "Remapped Interrupt supported on IOMMU:";

/// An entry that posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostedEntry {
    /// Whose interrupts go by it.
    pub source: SourceId,
    /// The guest's vector.
    pub vector: u8,
}

impl PostedEntry {
    /// Takes `iommu/intel/ir_translation_struct` apart. None if that is not what the text is; lines
    /// that are no entries are passed over.
    #[must_use]
    pub fn parse_all(text: &str) -> Option<Vec<Self>> {
        let mut posted = None;
        let mut tables = 0;
        let mut entries = Vec::new();
        for line in text.lines() {
            if line.starts_with(POSTED_TABLE) || line.starts_with(REMAPPED_TABLE) {
                tables += 1;
                posted = Some(line.starts_with(POSTED_TABLE));
            } else if posted == Some(true) {
                entries.extend(Self::parse(line));
            }
        }
        (tables > 0).then_some(entries)
    }

    /// Index, source, descriptor in two halves, vector, and the entry in two halves.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [index, source, _, _, vector, _, _] = words[..] else {
            return None;
        };
        index.parse::<u16>().ok()?;
        Some(Self {
            source: source_id(source)?,
            vector: u8::from_str_radix(vector, 16).ok()?,
        })
    }
}

/// `3a:1f.7`.
fn source_id(text: &str) -> Option<SourceId> {
    let (bus, rest) = text.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let bus = u8::from_str_radix(bus, 16).ok()?;
    let device = u8::from_str_radix(device, 16).ok().filter(|at| *at < 32)?;
    let function = u8::from_str_radix(function, 16).ok().filter(|at| *at < 8)?;
    Some(SourceId(
        u16::from(bus) << 8 | u16::from(device) << 3 | u16::from(function),
    ))
}
