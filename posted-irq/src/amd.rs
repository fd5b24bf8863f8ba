//! Layouts of the AMD IOMMU and AVIC, as values.

mod command;
mod dte;
mod event;
mod ga_log;
mod irte;

pub use command::AmdCommandError;
pub use command::AmdInvalidation;
pub use command::AmdInvalidationCommand;
pub use dte::DteInterrupt;
pub use dte::IntCtl;
pub use event::AmdEvent;
pub use event::AmdEventCode;
pub use ga_log::GaLogEntry;
pub use ga_log::GaTag;
pub use irte::AmdGuest;
pub use irte::AmdIrte;
pub use irte::AmdIrteFormat;
pub use irte::AmdLegacy;
pub use irte::AmdPostTarget;
pub use irte::AmdRemapped;
pub use irte::BackingPage;
pub use irte::UnalignedBackingPage;
