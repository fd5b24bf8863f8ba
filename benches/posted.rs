//! Posting: nanoseconds per post and per IRTE update, beside the bare atomic operations.
//!
//! Benchmarking cases, each on 256 descriptors or entries that stay in the first cache:
//!
//! * `post`: a vector into an empty descriptor, the post that notifies; to `two-rmws`
//! * `post-more`: a vector into a descriptor with a notification outstanding; to `two-rmws`
//! * `post-pending`: a vector that is pending; to `one-rmw`
//! * `irte-update`: a posted entry retargeted; to `one-cas-128`, the bare 128-bit exchange
//! * `irte-unchanged`: an entry written with what it says, which invalidates nothing; to the same
//! * `decision`: whether a message may be posted, 64 vCPUs, no reference
//!
//! Descriptors are drained and entries made ready outside the clock. Each round makes every case
//! once, in random order, and ratios are taken within the round.
//!
//! The gate is exact and comes first: a batch of posts without a drain notifies once.
//!
//! `--json` prints one JSON object. Without `--bench` (under `cargo test`) all is cut short. Run
//! with `cargo bench --bench posted`.

mod median;

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use posted_irq::ApicMap;
use posted_irq::ApicMode;
use posted_irq::ApicOptions;
use posted_irq::AtomicU128;
use posted_irq::CachingMode;
use posted_irq::IrteBlock;
use posted_irq::LocalApic;
use posted_irq::MessageIds;
use posted_irq::Msi;
use posted_irq::Notification;
use posted_irq::PiDesc;
use posted_irq::PiDescAddress;
use posted_irq::Post;
use posted_irq::RouteTarget;
use posted_irq::Urgency;
use posted_irq::VcpuId;
use posted_irq::VtdIrte;
use posted_irq::VtdIrteTable;
use posted_irq::VtdPostTarget;
use posted_irq::VtdRemapped;
use serde_json::Value;
use serde_json::json;

use crate::median::median;

/// Descriptors and entries: 16 KiB of the former.
const LINES: u16 = 256;
const VECTOR: u8 = 0x41;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    OneRmw,
    TwoRmws,
    OneCas128,
    Post,
    PostMore,
    PostPending,
    IrteUpdate,
    IrteUnchanged,
    Decision,
}

const CASES: [Case; 9] = [
    Case::OneRmw,
    Case::TwoRmws,
    Case::OneCas128,
    Case::Post,
    Case::PostMore,
    Case::PostPending,
    Case::IrteUpdate,
    Case::IrteUnchanged,
    Case::Decision,
];

impl Case {
    const fn as_str(self) -> &'static str {
        match self {
            Self::OneRmw => "one-rmw",
            Self::TwoRmws => "two-rmws",
            Self::OneCas128 => "one-cas-128",
            Self::Post => "post",
            Self::PostMore => "post-more",
            Self::PostPending => "post-pending",
            Self::IrteUpdate => "irte-update",
            Self::IrteUnchanged => "irte-unchanged",
            Self::Decision => "decision",
        }
    }

    const fn reference(self) -> Option<Self> {
        match self {
            Self::Post | Self::PostMore => Some(Self::TwoRmws),
            Self::PostPending => Some(Self::OneRmw),
            Self::IrteUpdate | Self::IrteUnchanged => Some(Self::OneCas128),
            Self::OneRmw | Self::TwoRmws | Self::OneCas128 | Self::Decision => None,
        }
    }
}

/// The words that a post touches, bare.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line {
    pir: [AtomicU64; 4],
    control: AtomicU64,
}

struct Bench {
    lines: Vec<Line>,
    descs: Vec<PiDesc>,
    words: Vec<AtomicU128>,
    table: VtdIrteTable,
    blocks: Vec<IrteBlock>,
    /// Two entries to go to and fro between.
    entries: [VtdIrte; 2],
    map: ApicMap,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let table = VtdIrteTable::new(LINES.into(), CachingMode::PresentOnly)?;
        let blocks: Vec<_> = (0..LINES)
            .map(|_| table.allocate(1))
            .collect::<Result<_, _>>()?;
        let here = Notification {
            vector: 0xf2,
            destination: 1,
        };
        let host = VtdIrte::from(VtdRemapped::new().with_p(true));
        let entry = |vector| {
            anyhow::Ok(host.posting_to(VtdPostTarget {
                descriptor: PiDescAddress::new(0x1000)?,
                vector,
                urgency: Urgency::Normal,
            }))
        };
        let entries = [entry(VECTOR)?, entry(VECTOR + 1)?];
        for block in &blocks {
            let _ = table.update(block, 0, entries[0])?;
        }
        let apics = (0..64).map(|id| LocalApic {
            vcpu: VcpuId(id),
            x2apic_id: id,
            mode: ApicMode::X2Apic,
            software_enabled: true,
            priority: 0,
        });
        let bare = entries[0].into_bits();
        Ok(Self {
            lines: (0..LINES).map(|_| Line::default()).collect(),
            descs: (0..LINES).map(|_| PiDesc::new(here)).collect(),
            words: (0..LINES).map(|_| AtomicU128::new(bare)).collect(),
            table,
            blocks,
            entries,
            map: ApicMap::new(apics.collect(), ApicOptions::default()),
        })
    }

    /// One pass over all lines, and how long it took.
    fn pass(&mut self, case: Case) -> anyhow::Result<Duration> {
        self.make_ready(case);
        let vector = black_box(VECTOR);
        let (word, bit) = (usize::from(vector) / 64, 1 << (vector % 64));
        let [old, new] = self.entries;
        let start = Instant::now();
        match case {
            Case::OneRmw => {
                for line in &self.lines {
                    black_box(line.pir[word].fetch_or(bit, Ordering::AcqRel));
                }
            }
            Case::TwoRmws => {
                for line in &self.lines {
                    black_box(line.pir[word].fetch_or(bit, Ordering::AcqRel));
                    black_box(line.control.fetch_or(1, Ordering::AcqRel));
                }
            }
            Case::OneCas128 => {
                let (old, new) = (old.into_bits(), new.into_bits());
                for word in &self.words {
                    let exchanged = word
                        .compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed)
                        .is_ok();
                    ensure!(exchanged, "the word has changed");
                }
            }
            Case::Post | Case::PostMore | Case::PostPending => {
                for desc in &self.descs {
                    black_box(desc.post(vector));
                }
            }
            Case::IrteUpdate => {
                for block in &self.blocks {
                    let update = self.table.update(block, 0, new)?;
                    ensure!(update.invalidate.is_some(), "the entry has changed");
                }
            }
            Case::IrteUnchanged => {
                for block in &self.blocks {
                    let update = self.table.update(block, 0, old)?;
                    ensure!(update.invalidate.is_none(), "the entry has changed");
                }
            }
            Case::Decision => {
                let vm = posted_irq::PostingVm {
                    irqchip: posted_irq::Irqchip::Full,
                    hardware: posted_irq::PostingHardware::Present,
                    message_ids: MessageIds::Bits8,
                };
                for at in 0..u64::from(LINES) {
                    let msi = Msi {
                        address: 0xfee0_0000 | (at % 64) << 12,
                        data: vector.into(),
                    };
                    black_box(vm.decide(RouteTarget::Msi(msi), &self.map));
                }
            }
        }
        let elapsed = start.elapsed();
        if matches!(case, Case::OneCas128 | Case::IrteUpdate) {
            self.entries = [new, old];
            // Whichever of the two was not measured follows.
            for (word, block) in self.words.iter().zip(&self.blocks) {
                word.store(new.into_bits(), Ordering::Relaxed);
                let _ = self.table.update(block, 0, new)?;
            }
        }
        Ok(elapsed)
    }

    fn make_ready(&mut self, case: Case) {
        for line in &mut self.lines {
            *line = Line::default();
        }
        for desc in &self.descs {
            desc.unsuppress();
            desc.drain();
            match case {
                Case::PostMore => drop(black_box(desc.post(VECTOR + 1))),
                Case::PostPending => drop(black_box(desc.post(VECTOR))),
                _ => {}
            }
        }
    }
}

/// The exact gate: of all posts between two drains one notifies.
fn gate(bench: &Bench) -> anyhow::Result<()> {
    for desc in &bench.descs {
        desc.unsuppress();
        desc.drain();
        let notified = (0..=u8::MAX)
            .filter(|&vector| matches!(desc.post(vector), Post::Notify(_)))
            .count();
        ensure!(notified == 1, "a batch of posts notified {notified} times");
    }
    Ok(())
}

fn measure(rounds: usize, passes: u32) -> anyhow::Result<Vec<Value>> {
    let mut bench = Bench::new()?;
    gate(&bench)?;
    let mut ns: [Vec<f64>; CASES.len()] = Default::default();
    let mut order: Vec<usize> = (0..CASES.len()).collect();
    for _ in 0..rounds {
        fastrand::shuffle(&mut order);
        for &place in &order {
            let mut elapsed = Duration::ZERO;
            for _ in 0..passes {
                elapsed += bench.pass(CASES[place])?;
            }
            let operations = f64::from(passes) * f64::from(LINES);
            ns[place].push(elapsed.as_secs_f64() * 1e9 / operations);
        }
    }
    let of = |case| CASES.iter().position(|one| *one == case);
    let row = |(case, own): (Case, &Vec<f64>)| {
        let ratio = case.reference().and_then(of).map(|reference| {
            let ratios = own.iter().zip(&ns[reference]).map(|(own, bare)| own / bare);
            median(ratios.collect())
        });
        json!({
            "name": case.as_str(),
            "ns": median(own.clone()),
            "reference": case.reference().map(Case::as_str),
            "ratio": ratio,
        })
    };
    Ok(CASES.into_iter().zip(&ns).map(row).collect())
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // An odd number of rounds, so that the median is one of them.
    let (rounds, passes) = match has("--bench") && !has("--test") {
        true => (101, 200),
        false => (1, 1),
    };
    let report = json!({
        "bench": "posted",
        "rounds": rounds,
        "operations": u32::from(LINES) * passes,
        "notifications_per_batch": 1,
        "lock_free": AtomicU128::is_lock_free(),
        "cases": measure(rounds, passes)?,
    });
    if has("--json") {
        println!("{report}");
        return Ok(());
    }
    println!("{rounds} rounds; one notification for each batch of posts");
    println!("{:<16}{:>10}{:>10}  to", "case", "ns", "ratio");
    for case in report["cases"].as_array().into_iter().flatten() {
        print!(
            "{:<16}{:>10.2}",
            case["name"].as_str().unwrap_or_default(),
            case["ns"].as_f64().unwrap_or(f64::NAN),
        );
        match (case["ratio"].as_f64(), case["reference"].as_str()) {
            (Some(ratio), Some(reference)) => println!("{ratio:>10.3}  {reference}"),
            _ => println!("{:>10}", "-"),
        }
    }
    Ok(())
}
