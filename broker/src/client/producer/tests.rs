use super::*;

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;

use irqbroker_protocol::Name;

use crate::client::event_fd::fresh;

/// Writes down what is asked of it, and refuses to be redirected if told to.
#[derive(Debug, Default)]
struct Fake {
    calls: Mutex<Vec<&'static str>>,
    signals: Mutex<Option<OwnedFd>>,
    refuses: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("told to refuse")]
struct Told;

impl Mask for Fake {
    fn mask(&self) -> Result<(), PeerError> {
        self.calls.lock().unwrap().push("mask");
        Ok(())
    }

    fn unmask(&self) -> Result<(), PeerError> {
        self.calls.lock().unwrap().push("unmask");
        Ok(())
    }
}

impl Redirect for Fake {
    fn redirect(&self, event: BorrowedFd<'_>) -> Result<(), PeerError> {
        self.calls.lock().unwrap().push("redirect");
        if self.refuses {
            return Err(PeerError::new(Told));
        }
        *self.signals.lock().unwrap() = Some(event.try_clone_to_owned().unwrap());
        Ok(())
    }
}

fn producer(fake: &Arc<Fake>) -> OwnProducer {
    OwnProducer::new(ProducerSpec {
        name: Name::new("p").unwrap(),
        link: None,
        event: fresh().unwrap().unwrap(),
        info: ProducerInfo::edge(),
        redirect: Some(Arc::clone(fake) as _),
    })
}

fn signal(event: &Token) {
    rustix::io::write(event, &1u64.to_ne_bytes()).unwrap();
}

#[test]
fn switch_moves_what_stands_while_the_source_is_masked_and_back_again() {
    let fake = Arc::new(Fake::default());
    let (mut producer, to) = (producer(&fake), fresh().unwrap().unwrap());
    let own = producer.spec.event.clone();
    signal(&own);
    signal(&own);
    producer.switch(Some(to.clone())).unwrap();
    assert_eq!(*fake.calls.lock().unwrap(), ["mask", "redirect", "unmask"]);
    let signals = fake.signals.lock().unwrap().take().unwrap();
    assert_ne!(to.is_same_file(signals.as_fd()), Some(false));
    assert_eq!((own.pending().unwrap(), to.pending().unwrap()), (0, 1));
    assert!(producer.request().switched);

    producer.switch(None).unwrap();
    assert_eq!((own.pending().unwrap(), to.pending().unwrap()), (1, 0));
    assert!(!producer.request().switched);
}

#[test]
fn switch_that_is_refused_unmasks_and_changes_nothing() {
    let fake = Arc::new(Fake {
        refuses: true,
        ..Fake::default()
    });
    let (mut producer, to) = (producer(&fake), fresh().unwrap().unwrap());
    signal(&producer.spec.event.clone());
    producer.switch(Some(to.clone())).unwrap_err();
    assert_eq!(*fake.calls.lock().unwrap(), ["mask", "redirect", "unmask"]);
    assert_eq!(to.pending().unwrap(), 0);
    assert_eq!(producer.spec.event.pending().unwrap(), 1);
    assert!(!producer.request().switched);
}
