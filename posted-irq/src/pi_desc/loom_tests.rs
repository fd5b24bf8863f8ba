//! Models of the descriptor's own code under every interleaving loom can make of it.
//!
//! Loom treats `SeqCst` as `AcqRel` and does not reorder loads before earlier loads of other
//! locations freely: a pass is evidence, not a proof.

use loom::sync::Arc;
use loom::thread;

use super::*;

/// Preemptions explored; three suffice to interleave two posts with a drain.
const PREEMPTION_BOUND: usize = 3;

const HERE: Notification = Notification {
    vector: 0xf2,
    destination: 1,
};

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTION_BOUND);
    builder.check(body);
}

fn loaded() -> Arc<PiDesc> {
    let desc = PiDesc::new(HERE);
    desc.unsuppress();
    Arc::new(desc)
}

/// Posts two vectors, and counts how often it had to notify.
fn poster(desc: &Arc<PiDesc>, vectors: [u8; 2]) -> thread::JoinHandle<usize> {
    let desc = Arc::clone(desc);
    thread::spawn(move || {
        let outcomes = vectors.map(|vector| desc.post(vector));
        let notified = |outcome: &&Post| matches!(outcome, Post::Notify(_));
        outcomes.iter().filter(notified).count()
    })
}

/// Whatever a drain does not take is announced: ON stands after it.
#[test]
fn loom_post_against_drain_loses_nothing() {
    model(|| {
        let desc = loaded();
        // One vector in each of two words, for the drain to come between.
        let posting = poster(&desc, [0x21, 0x81]);
        let mut taken: Vec<u8> = desc.drain().vectors().collect();
        let notified = posting.join().unwrap();

        let left = !desc.is_pir_empty();
        assert!(!left || desc.control().on(), "left behind in silence");
        taken.extend(desc.drain().vectors());
        taken.sort_unstable();
        assert_eq!(taken, [0x21, 0x81]);
        assert!((1..=2).contains(&notified));
    });
}

#[test]
fn loom_two_posters_without_a_drain_notify_exactly_once() {
    model(|| {
        let desc = loaded();
        let posting = poster(&desc, [0x21, 0x81]);
        let mine = usize::from(matches!(desc.post(0x22), Post::Notify(_)));
        assert_eq!(mine + posting.join().unwrap(), 1);
    });
}

/// A post that saw SN must be found by the load that clears it.
#[test]
fn loom_post_against_preempt_and_load_loses_nothing() {
    model(|| {
        let desc = loaded();
        let posting = poster(&desc, [0x21, 0x81]);
        desc.suppress();
        desc.unsuppress();
        let mut taken = Vec::new();
        if desc.control().on() {
            taken.extend(desc.drain().vectors());
        }
        posting.join().unwrap();

        let left = !desc.is_pir_empty();
        assert!(!left || desc.control().on(), "left behind in silence");
        taken.extend(desc.drain().vectors());
        taken.sort_unstable();
        assert_eq!(taken, [0x21, 0x81]);
    });
}
