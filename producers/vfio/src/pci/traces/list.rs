//! All traces there are.

use super::intx;
use super::msi;
use super::msix_access;
use super::msix_masking;
use super::msix_message;
use super::saved;
use super::trace::Trace;

/// Every trace.
pub fn all() -> impl Iterator<Item = &'static Trace> {
    [
        msix_access::TRACES,
        msix_masking::TRACES,
        msix_message::TRACES,
        msi::TRACES,
        intx::TRACES,
        saved::TRACES,
    ]
    .into_iter()
    .flatten()
}
