//! What a server answers to a client's version, and what both keep to from then on.

use crate::limits::Limits;
use crate::version::Capabilities;
use crate::version::GFX_REVISION;
use crate::version::Irqbroker;
use crate::version::PROTOCOL_MAJOR;
use crate::version::PROTOCOL_MINOR;
use crate::version::SAVE_REVISION;
use crate::version::Version;

/// Fds a message that every client that looks at the server's number at all can live with. QEMU
/// ends the connection over a larger one than 16.
const MAX_MSG_FDS_ANYWHERE: usize = 16;

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// Fds that the client can receive with one message.
    pub(crate) client_max_msg_fds: usize,
    /// Whether the graphics commands may be used.
    pub(crate) gfx: Extension,
    /// Whether the device may be saved and restored.
    pub(crate) save: Extension,
}

/// Whether commands that are not of the specification may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extension {
    Agreed,
    Absent,
}

/// A server's answer.
///
/// Of what is optional it has only what was proposed. The numbers about fds and data are always
/// there, as with libvfio-user: a client that did not ask passes them over.
pub(crate) fn answer(limits: &Limits, proposed: &Version) -> (Version, Agreed) {
    let theirs = &proposed.capabilities;
    let client_max_msg_fds = theirs.max_msg_fds();
    // A dma-buf needs a way to the client, as does a saved device.
    let extension = |revision| {
        if revision > 0 && client_max_msg_fds > 0 {
            Extension::Agreed
        } else {
            Extension::Absent
        }
    };
    let (gfx, save) = (extension(theirs.gfx()), extension(theirs.save()));
    let revision = |extension, revision| (extension == Extension::Agreed).then_some(revision);
    let irqbroker = Irqbroker {
        gfx: revision(gfx, theirs.gfx().min(GFX_REVISION)),
        save: revision(save, theirs.save().min(SAVE_REVISION)),
    };
    // As many as there may be, but no more than the client itself takes or is sure to bear.
    let max_msg_fds = client_max_msg_fds
        .max(MAX_MSG_FDS_ANYWHERE)
        .min(limits.max_msg_fds);
    let capabilities = Capabilities {
        max_msg_fds: Some(max_msg_fds as u64),
        max_data_xfer_size: Some(u64::from(limits.max_data_xfer_size)),
        max_dma_maps: theirs
            .max_dma_maps
            .map(|maps| maps.min(limits.max_dma_maps as u64)),
        write_multiple: theirs.write_multiple.filter(|&proposed| proposed),
        irqbroker: (irqbroker != Irqbroker::default()).then_some(irqbroker),
        ..Capabilities::default()
    };
    let version = Version {
        major: PROTOCOL_MAJOR,
        // The lowest there is, so never more than was proposed.
        minor: PROTOCOL_MINOR,
        capabilities,
    };
    let agreed = Agreed {
        client_max_msg_fds,
        gfx,
        save,
    };
    (version, agreed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn propose(capabilities: Capabilities) -> (Version, Agreed) {
        let proposed = Version {
            major: 0,
            minor: 5,
            capabilities,
        };
        answer(&Limits::default(), &proposed)
    }

    #[test]
    fn answer_has_nothing_optional_that_was_not_proposed() {
        let (version, agreed) = propose(Capabilities::default());

        assert_eq!(
            version,
            Version {
                major: 0,
                minor: 0,
                capabilities: Capabilities {
                    max_msg_fds: Some(16),
                    max_data_xfer_size: Some(1 << 20),
                    ..Capabilities::default()
                },
            }
        );
        assert_eq!(agreed.client_max_msg_fds, 1);
        assert_eq!(agreed.gfx, Extension::Absent);
    }

    #[test]
    fn fds_a_message_follow_what_the_client_takes_but_never_frighten_qemu() {
        let offered = |fds| {
            let (version, _) = propose(Capabilities {
                max_msg_fds: Some(fds),
                ..Capabilities::default()
            });
            version.capabilities.max_msg_fds
        };

        assert_eq!(offered(0), Some(16));
        assert_eq!(offered(16), Some(16));
        assert_eq!(offered(40), Some(40));
        assert_eq!(offered(u64::MAX), Some(64));
    }

    #[test]
    fn proposals_are_answered_with_the_smaller_number() {
        let (version, agreed) = propose(Capabilities {
            max_msg_fds: Some(8),
            max_dma_maps: Some(100),
            write_multiple: Some(true),
            irqbroker: Some(Irqbroker {
                gfx: Some(7),
                save: Some(8),
            }),
            ..Capabilities::default()
        });

        assert_eq!(version.capabilities.max_dma_maps, Some(100));
        assert_eq!(version.capabilities.write_multiple, Some(true));
        assert_eq!(version.capabilities.gfx(), GFX_REVISION);
        assert_eq!(version.capabilities.save(), SAVE_REVISION);
        assert_eq!(agreed.gfx, Extension::Agreed);
        assert_eq!(agreed.save, Extension::Agreed);
    }

    #[test]
    fn extensions_are_agreed_on_one_by_one() {
        let (version, agreed) = propose(Capabilities {
            irqbroker: Some(Irqbroker {
                save: Some(1),
                ..Irqbroker::default()
            }),
            ..Capabilities::default()
        });

        assert_eq!(
            (version.capabilities.gfx(), version.capabilities.save()),
            (0, 1)
        );
        assert_eq!(
            (agreed.gfx, agreed.save),
            (Extension::Absent, Extension::Agreed)
        );
    }

    #[test]
    fn graphics_are_not_agreed_on_with_a_client_that_takes_no_fd() {
        let (version, agreed) = propose(Capabilities {
            max_msg_fds: Some(0),
            irqbroker: Some(Irqbroker {
                gfx: Some(1),
                save: Some(1),
            }),
            ..Capabilities::default()
        });

        assert_eq!(version.capabilities.irqbroker, None);
        assert_eq!(agreed.gfx, Extension::Absent);
    }
}
