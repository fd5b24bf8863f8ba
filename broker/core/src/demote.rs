//! Taking a link off the kernel for somebody who knows that its route is no longer true.

use crate::delivery::Reason;
use crate::error::LinkError;
use crate::ids::LinkId;
use crate::registry::Registry;

impl Registry {
    /// Takes a link off the kernel for `reason`, until its consumer
    /// [has recovered](crate::Bypass::has_recovered), its message changes or it is
    /// [promoted](Self::promote). After return nothing comes of what the kernel was told before.
    ///
    /// A link that the kernel does not have costs no call to its consumer.
    ///
    /// # Errors
    ///
    /// See [`LinkError`]; the link is as it was.
    pub fn demote(&self, id: LinkId, reason: Reason) -> Result<(), LinkError> {
        self.change(id, |shared, link| {
            let Some(joint) = &mut link.joint else {
                return Ok(());
            };
            let old = joint.refused.replace(reason);
            shared.settle(id, link).inspect_err(|_| {
                if let Some(joint) = &mut link.joint {
                    joint.refused = old;
                }
            })
        })
    }
}
