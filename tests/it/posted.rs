//! Posted delivery into a real guest: priorities, nesting, and nothing lost whatever happens.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::posted::PostedConsumer;
use irqbroker::posted::PostedVm;
use irqbroker_core::Consumer;
use irqbroker_core::DeliveryState;
use irqbroker_core::Event;
use irqbroker_core::LocalProducer;
use irqbroker_core::Producer;
use irqbroker_core::Reason;
use irqbroker_core::Registry;
use irqbroker_core::RelayThread;
use irqbroker_core::Rid;
use irqbroker_core::Token;
use irqbroker_core::Unpostable;
use irqbroker_guest::GuestVector;
use irqbroker_guest::Nesting;
use irqbroker_guest::Served;
use irqbroker_guest::Wait;
use libtest_mimic::Trial;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use crate::bench::Device;
use crate::bench::Source;
use crate::need::Need;
use crate::need::story;
use crate::posted_guest::Note;
use crate::posted_guest::PostedGuest;
use crate::posted_guest::message;
use crate::posted_guest::to_both;
use crate::posted_soak;

/// How long an interrupt may take. Only a broken guest comes near.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requester id of the device.
const DEVICE: Rid = Rid(1 << 3);

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "posted_vectors_nest_four_deep_and_end_inside_out",
            Need::Kvm,
            nested,
        ),
        story(
            "posted_vector_of_higher_priority_waits_for_the_window_of_a_handler_with_interrupts_off",
            Need::Kvm,
            window,
        ),
        story(
            "posted_link_of_an_eventfd_is_fed_by_the_relay",
            Need::Kvm,
            eventfd_fed,
        ),
        story(
            "posted_link_goes_through_the_host_and_back_and_delivers_each_event_once",
            Need::Kvm,
            transitions,
        ),
        story(
            "invariant_7_posted_events_are_neither_lost_nor_invented_on_kvm",
            Need::Kvm,
            posted_soak::soak,
        ),
    ]
}

/// A device whose handler's service raises what follows.
struct Chain {
    notes: Arc<Mutex<Vec<Note>>>,
    /// While this vector is served these are posted, the first time.
    raises: Vec<(u8, Vec<Arc<PostedConsumer>>)>,
    raised: AtomicBool,
}

impl Served for Chain {
    fn serve(&self, vector: GuestVector) {
        let number = vector.get();
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Note::Served(number));
        for (served, raises) in &self.raises {
            if *served == number {
                for consumer in raises {
                    // Relaxed: read after the guest has come to rest.
                    let refused = consumer.post().is_err();
                    self.raised.fetch_and(!refused, Ordering::Relaxed);
                }
            }
        }
    }
}

/// Posts the first vector of a chain, and returns what happened until the guest rests.
fn chain(nesting: Nesting, raises: &[(u8, &[u8])]) -> anyhow::Result<Vec<Note>> {
    let notes: Arc<Mutex<Vec<Note>>> = Arc::default();
    let served: Vec<GuestVector> = raises
        .iter()
        .filter_map(|(vector, _)| GuestVector::new(*vector))
        .collect();
    let guest = PostedGuest::build(nesting, &served, Some(Arc::clone(&notes)))?;
    let consumer = |vector| bound(&guest.vm, vector);
    let first = consumer(raises.first().context("no chain")?.0)?;
    let chain = Arc::new(Chain {
        notes: Arc::clone(&notes),
        raises: raises
            .iter()
            .map(|(served, raised)| {
                let raised = raised.iter().map(|vector| consumer(*vector));
                Ok((*served, raised.collect::<anyhow::Result<_>>()?))
            })
            .collect::<anyhow::Result<_>>()?,
        raised: AtomicBool::new(true),
    });
    let running = guest.run(Some(chain.clone()))?;
    first.post()?;
    running.settle()?;
    ensure!(
        chain.raised.load(Ordering::Relaxed),
        "a post was refused while a handler ran"
    );
    running.guest.stop()?;
    let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(notes.clone())
}

/// A consumer with a producer, for who posts by hand.
fn bound(vm: &Arc<PostedVm>, vector: u8) -> anyhow::Result<Arc<PostedConsumer>> {
    let consumer = vm.msi(format!("vector{vector:#04x}"), DEVICE, message(vector))?;
    let device = LocalProducer::new("device")?;
    consumer.add_producer(&device.info(), device.token())?;
    Ok(consumer)
}

fn nested() -> anyhow::Result<()> {
    use Note::Ended;
    use Note::Served;
    use Note::Taken;
    // In the innermost handler come an equal and a lower one, which have to wait for its end.
    let notes = chain(
        Nesting::On,
        &[
            (0x40, &[0x60]),
            (0x60, &[0x80]),
            (0x80, &[0xa0]),
            (0xa0, &[0xa1, 0x41]),
        ],
    )?;
    let expected = [
        Taken(0x40),
        Served(0x40),
        Taken(0x60),
        Served(0x60),
        Taken(0x80),
        Served(0x80),
        Taken(0xa0),
        Served(0xa0),
        Ended(0xa0),
        Ended(0x80),
        Ended(0x60),
        Ended(0x40),
    ];
    // When exactly the two that wait come in is up to how closely the back end watches for the window.
    let late = |note: &Note| !matches!(note, Taken(0xa1 | 0x41) | Ended(0xa1 | 0x41));
    let chain: Vec<Note> = notes.iter().copied().filter(late).collect();
    ensure!(chain == expected, "{notes:x?}");
    for (after, then) in [
        (Ended(0xa0), Taken(0xa1)),
        (Ended(0x40), Taken(0x41)),
        (Ended(0xa1), Taken(0x41)),
    ] {
        let at = |wanted| notes.iter().position(|note| *note == wanted);
        let in_order = at(after).zip(at(then)).is_some_and(|(a, b)| a < b);
        ensure!(in_order, "{then:x?} not after {after:x?}: {notes:x?}");
    }
    Ok(())
}

fn window() -> anyhow::Result<()> {
    use Note::Ended;
    use Note::Served;
    use Note::Taken;
    let notes = chain(Nesting::Off, &[(0x40, &[0x50, 0x80]), (0x80, &[0x90])])?;
    let expected = [
        Taken(0x40),
        Served(0x40),
        Ended(0x40),
        Taken(0x80),
        Served(0x80),
        Ended(0x80),
        Taken(0x90),
        Ended(0x90),
        Taken(0x50),
        Ended(0x50),
    ];
    ensure!(notes == expected, "{notes:x?}");
    Ok(())
}

fn eventfd_fed() -> anyhow::Result<()> {
    const VECTOR: u8 = 0x55;
    const ROUNDS: u64 = 100;
    let running = PostedGuest::build(Nesting::Off, &[], None)?.run(None)?;
    let registry = Registry::new()?;
    let relay = RelayThread::spawn(registry.clone(), || {})?;
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let device = Source::Device(Token::of(event)?);
    let consumer = running.vm.msi("fed", DEVICE, message(VECTOR))?;
    let producer = registry.register_producer(device.token().clone(), Arc::new(Device))?;
    let link = registry.register_consumer(device.token().clone(), consumer)?;
    let delivery = link.delivery()?;
    ensure!(
        delivery.state == DeliveryState::Posted && delivery.reason == Reason::EventfdFed,
        "{delivery:?}"
    );
    let vector = GuestVector::new(VECTOR).context("no handler")?;
    for round in 1..=ROUNDS {
        device.signal();
        let deadline = Instant::now() + PATIENCE;
        running
            .guest
            .wait_delivered(vector, round, deadline, Wait::Spin)?;
    }
    running.settle()?;
    ensure!(running.delivered(VECTOR) == ROUNDS, "invented");
    drop((link, producer, relay));
    Ok(())
}

fn transitions() -> anyhow::Result<()> {
    const ROUNDS: u64 = 500;
    const VECTORS: [u8; 2] = [0x55, 0x66];
    let running = PostedGuest::build(Nesting::Off, &[], None)?.run(None)?;
    let registry = Registry::new()?;
    let relay = RelayThread::spawn(registry.clone(), || {})?;
    let device = LocalProducer::new("device")?;
    let consumer = running.vm.msi("msi", DEVICE, message(VECTORS[0]))?;
    let token = device.token().clone();
    let producer = registry.register_producer(token.clone(), device.clone())?;
    let link = registry.register_consumer(token, consumer.clone())?;
    let events = registry.subscribe(16);
    let posted = (DeliveryState::Posted, Reason::Best);
    let remapped = (
        DeliveryState::Relay,
        Reason::HostEntry(Unpostable::SeveralVcpus),
    );
    let mut expected = [0, 0];
    for round in 0..ROUNDS {
        let at = usize::from(round % 3 == 0);
        let (message, state) = match round % 2 {
            0 => (to_both(VECTORS[at]), remapped),
            _ => (message(VECTORS[at]), posted),
        };
        link.update_route(message)?;
        let told: Vec<_> = events
            .try_iter()
            .filter_map(|event| match event {
                Event::Delivery { to, .. } => Some((to.state, to.reason)),
                _ => None,
            })
            .collect();
        ensure!(told == [state], "round {round}: {told:?}");
        device.signal();
        expected[at] += 1;
        let vector = GuestVector::new(VECTORS[at]).context("no handler")?;
        let deadline = Instant::now() + PATIENCE;
        running
            .guest
            .wait_delivered(vector, expected[at], deadline, Wait::Spin)?;
    }
    running.settle()?;
    let delivered = VECTORS.map(|vector| running.delivered(vector));
    ensure!(delivered == expected, "{delivered:?}, not {expected:?}");
    drop((link, producer, relay));
    Ok(())
}
