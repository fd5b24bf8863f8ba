//! How many requests a second a uid may ask.

use std::collections::HashMap;

/// Uids remembered; more are forgotten, and begin anew.
const REMEMBERED: usize = 1024;

/// One bucket per uid.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    buckets: HashMap<u32, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Requests left, in thousandths: a millisecond brings as many as the rate has requests a
    /// second.
    left: u64,
    at_ms: u64,
}

impl Rates {
    /// Whether `uid` may ask `requests` more at `now_ms`. A second's worth may come at once.
    pub(crate) fn take(&mut self, uid: u32, requests: usize, rate: u32, now_ms: u64) -> bool {
        let full = u64::from(rate) * 1000;
        if self.buckets.len() >= REMEMBERED && !self.buckets.contains_key(&uid) {
            self.buckets.clear();
        }
        let bucket = self.buckets.entry(uid).or_insert(Bucket {
            left: full,
            at_ms: now_ms,
        });
        let passed = now_ms.saturating_sub(bucket.at_ms);
        let gained = passed.saturating_mul(u64::from(rate));
        bucket.left = bucket.left.saturating_add(gained).min(full);
        bucket.at_ms = now_ms;
        let cost = u64::try_from(requests)
            .unwrap_or(u64::MAX)
            .saturating_mul(1000);
        match bucket.left.checked_sub(cost) {
            Some(left) => {
                bucket.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some uid, and a rate that makes a request every 100 ms.
    const UID: u32 = 1000;
    const RATE: u32 = 10;

    #[test]
    fn take_lets_a_seconds_worth_through_at_once_and_then_the_rate() {
        let mut rates = Rates::default();
        assert!((0..RATE).all(|_| rates.take(UID, 1, RATE, 0)));
        assert!(!rates.take(UID, 1, RATE, 0));
        assert!(!rates.take(UID, 1, RATE, 99));
        assert!(rates.take(UID, 1, RATE, 100));
        assert!(!rates.take(UID, 1, RATE, 100));
    }

    #[test]
    fn take_for_a_batch_takes_all_or_none_and_no_other_uid_pays() {
        let mut rates = Rates::default();
        assert!(!rates.take(UID, 11, RATE, 0));
        assert!(rates.take(UID, 10, RATE, 0));
        assert!(rates.take(UID + 1, 10, RATE, 0));
    }
}
