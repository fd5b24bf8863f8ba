//! How many fds go with a request.

use crate::batch::Batch;
use crate::request::Request;

/// How many fds a packet has to carry.
pub trait FdCount {
    /// The exact number.
    fn fd_count(&self) -> usize;
}

impl FdCount for Request {
    fn fd_count(&self) -> usize {
        match self {
            Self::Hello(hello) => usize::from(hello.claim_record),
            Self::RegisterProducer(producer) => 1 + usize::from(producer.switched),
            Self::RegisterConsumer(consumer) => {
                1 + usize::from(consumer.resample) + usize::from(consumer.attached)
            }
            Self::Batch(batch) => batch.fd_count(),
            _ => 0,
        }
    }
}

impl FdCount for Batch {
    fn fd_count(&self) -> usize {
        self.requests.iter().map(FdCount::fd_count).sum()
    }
}
