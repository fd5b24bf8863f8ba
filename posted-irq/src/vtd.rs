//! Layouts of Intel VT-d, as values.

mod control;
mod descriptor;
mod fault;
mod iec;
mod irta;
mod irte;

pub use control::PiControl;
pub use descriptor::PID_BYTES;
pub use descriptor::PiDescAddress;
pub use descriptor::PiDescImage;
pub use descriptor::UnalignedDescriptor;
pub use fault::VtdFaultReason;
pub use fault::VtdFaultRecord;
pub use iec::IecDescriptor;
pub use iec::IecError;
pub use iec::IecInvalidation;
pub use irta::Irta;
pub use irte::PostedInterrupts;
pub use irte::SourceQualifier;
pub use irte::SourceValidation;
pub use irte::Urgency;
pub use irte::VtdIrte;
pub use irte::VtdIrteFormat;
pub use irte::VtdPostTarget;
pub use irte::VtdPosted;
pub use irte::VtdRemapped;
