use proptest::prelude::*;

use super::*;
use crate::amd::AmdIrteFormat;
use crate::amd::BackingPage;

const DEVICE: SourceId = SourceId(0x0300);

struct Entries {
    table: Arc<AmdIrteTable>,
    block: Arc<IrteBlock>,
}

fn entries() -> Entries {
    let table = AmdIrteTable::new(DEVICE, 32).unwrap();
    let block = table.allocate(8).unwrap();
    Entries {
        table: Arc::new(table),
        block: Arc::new(block),
    }
}

/// The vCPU with index 5 of VM 1.
fn vcpu() -> AvicVcpu {
    AvicVcpu::new(GaTag::new().with_vm(1).with_vcpu_index(5))
}

fn host(at: u16) -> AmdRemapped {
    AmdRemapped::new()
        .with_remap_en(true)
        .with_vector(0x50)
        .with_destination(ApicId(u32::from(at)))
}

fn target(vector: u8) -> AmdPostTarget {
    AmdPostTarget {
        backing_page: BackingPage::new(0x1234_5000).unwrap(),
        vector,
    }
}

impl Entries {
    fn post(&self, vcpu: &AvicVcpu, at: u16) -> Option<AmdInvalidation> {
        let Self { table, block } = self;
        vcpu.post_from(table, block, at, host(at), target(0x41))
            .unwrap()
    }

    fn restore(&self, vcpu: &AvicVcpu, at: u16) -> Option<AmdInvalidation> {
        let Self { table, block } = self;
        vcpu.restore(table, block, at, host(at)).unwrap()
    }

    fn format(&self, at: u16) -> AmdIrteFormat {
        self.table
            .get(self.block.index(at).unwrap())
            .unwrap()
            .format()
    }

    fn delivery(&self, at: u16) -> AvicDelivery {
        match self.format(at) {
            AmdIrteFormat::Guest(entry) => AvicDelivery::of(entry, DEVICE),
            AmdIrteFormat::Remapped(entry) => panic!("entry {at} does not post: {entry:?}"),
        }
    }
}

#[test]
fn avic_vcpu_gets_doorbell_silence_or_log_by_where_it_is() {
    let (entries, vcpu) = (entries(), vcpu());
    entries.post(&vcpu, 0);
    assert_eq!(entries.delivery(0), AvicDelivery::Silent);
    vcpu.load(ApicId(0x0102_0304)).unwrap();
    let doorbell = AvicDelivery::Doorbell(ApicId(0x0102_0304));
    assert_eq!(entries.delivery(0), doorbell);
    vcpu.preempt().unwrap();
    assert_eq!(entries.delivery(0), AvicDelivery::Silent);
    vcpu.load(ApicId(2)).unwrap();
    vcpu.block().unwrap();
    let AvicDelivery::Log(log) = entries.delivery(0) else {
        panic!("{:?}", entries.delivery(0));
    };
    assert_eq!(log.ga_tag().vcpu().0, 5);
    assert_eq!((log.ga_tag().vm(), log.device_id()), (1, DEVICE.0));
}

#[test]
fn avic_vcpu_out_of_processor_keeps_the_destination() {
    let (entries, vcpu) = (entries(), vcpu());
    entries.post(&vcpu, 0);
    vcpu.load(ApicId(7)).unwrap();
    vcpu.block().unwrap();
    let AmdIrteFormat::Guest(entry) = entries.format(0) else {
        panic!("does not post");
    };
    assert_eq!(entry.destination(), ApicId(7));
    assert_eq!(entry.ga_root(), 0x1_2345);
    assert_eq!(entry.vector(), 0x41);
}

#[test]
fn entry_posted_to_a_running_vcpu_finds_it_at_once() {
    let (entries, vcpu) = (entries(), vcpu());
    vcpu.load(ApicId(3)).unwrap();
    entries.post(&vcpu, 4);
    assert_eq!(entries.delivery(4), AvicDelivery::Doorbell(ApicId(3)));
}

#[test]
fn restored_entry_says_what_the_host_says_and_moves_no_more() {
    let (entries, vcpu) = (entries(), vcpu());
    let all = Some(AmdInvalidation::InterruptTable(DEVICE));
    assert_eq!(entries.post(&vcpu, 2), None);
    assert_eq!(entries.restore(&vcpu, 2), all);
    assert_eq!(vcpu.entries(), 0);
    vcpu.load(ApicId(3)).unwrap();
    assert_eq!(entries.format(2), AmdIrteFormat::Remapped(host(2)));
    assert_eq!(entries.restore(&vcpu, 2), None);
}

#[test]
fn inhibited_avic_remaps_all_entries_with_one_invalidation_a_table() {
    let (entries, vcpu) = (entries(), vcpu());
    let all = vec![AmdInvalidation::InterruptTable(DEVICE)];
    for at in 0..4 {
        entries.post(&vcpu, at);
    }
    assert_eq!(vcpu.set_avic(Avic::Inhibited), Ok(all.clone()));
    entries.post(&vcpu, 4);
    vcpu.load(ApicId(3)).unwrap();
    for at in 0..5 {
        assert_eq!(entries.format(at), AmdIrteFormat::Remapped(host(at)));
    }
    assert_eq!(vcpu.set_avic(Avic::Active), Ok(all));
    for at in 0..5 {
        assert_eq!(entries.delivery(at), AvicDelivery::Doorbell(ApicId(3)));
    }
    assert_eq!(vcpu.set_avic(Avic::Active), Ok(vec![]));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Load(u32),
    Preempt,
    Block,
    Post(u16),
    Restore(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_u32).prop_map(Step::Load),
        Just(Step::Preempt),
        Just(Step::Block),
        (0..8_u16).prop_map(Step::Post),
        (0..8_u16).prop_map(Step::Restore),
    ]
}

proptest! {
    /// No entry is ever left behind with the processor before, and none posts that should not.
    #[test]
    fn any_schedule_leaves_every_entry_with_the_vcpus_place(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let (entries, vcpu) = (entries(), vcpu());
        let mut posting = [false; 8];
        let mut expected = AvicDelivery::Silent;
        for step in steps {
            match step {
                Step::Load(id) => {
                    vcpu.load(ApicId(id)).unwrap();
                    expected = AvicDelivery::Doorbell(ApicId(id));
                }
                Step::Preempt => {
                    vcpu.preempt().unwrap();
                    expected = AvicDelivery::Silent;
                }
                Step::Block => {
                    vcpu.block().unwrap();
                    let log = GaLogEntry::new()
                        .with_ga_tag(vcpu.tag)
                        .with_device_id(DEVICE.0);
                    expected = AvicDelivery::Log(log);
                }
                Step::Post(at) => {
                    entries.post(&vcpu, at);
                    posting[usize::from(at)] = true;
                }
                Step::Restore(at) => {
                    entries.restore(&vcpu, at);
                    posting[usize::from(at)] = false;
                }
            }
            for (at, posting) in (0..).zip(posting) {
                if posting {
                    prop_assert_eq!(entries.delivery(at), expected);
                } else {
                    prop_assert!(matches!(entries.format(at), AmdIrteFormat::Remapped(_)));
                }
            }
        }
    }
}

/// Binding raced with the vCPU's moves, and left entries with a processor it had left.
#[test]
fn p6_entry_bound_while_the_vcpu_moves_is_left_with_its_last_place() {
    // Enough for the two threads to meet, few enough to be quick.
    const ROUNDS: u32 = 2_000;
    let (entries, vcpu) = (entries(), vcpu());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                vcpu.load(ApicId(round)).unwrap();
            }
        });
        for at in (0..8).cycle().take(ROUNDS as usize) {
            entries.restore(&vcpu, at);
            entries.post(&vcpu, at);
        }
    });
    for at in 0..8 {
        let AmdIrteFormat::Guest(entry) = entries.format(at) else {
            panic!("entry {at} does not post");
        };
        assert!(entry.is_run());
        assert_eq!(entry.destination(), ApicId(ROUNDS - 1));
    }
}
