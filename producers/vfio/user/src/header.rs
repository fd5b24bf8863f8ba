//! The 16 bytes that every message begins with.

use bitflags::bitflags;

use irqbroker_vfio_abi::Errno;

use crate::command::Command;
use crate::wire::HeaderWire;

bitflags! {
    /// Flags of a message.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct HeaderFlags: u32 {
        /// The one type beside a command, which is 0: a reply.
        const REPLY = 1;
        /// All bits of the type.
        const TYPE_MASK = 0xf;
        /// The sender of a command wants no reply to it.
        const NO_REPLY = 1 << 4;
        /// The command failed, and [`Header::error`] may say why.
        const ERROR = 1 << 5;
    }
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// Asks for something.
    Command,
    /// Answers a command.
    Reply,
    /// No such type.
    Unknown,
}

/// A message's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The sender's; echoed in the reply. Need not be unique.
    pub id: u16,
    /// What is asked for, in the reply as well.
    pub command: Command,
    /// Bytes of the message, header included.
    pub size: u32,
    /// Type and attributes; unknown bits are kept.
    pub flags: HeaderFlags,
    /// Of a reply with [`HeaderFlags::ERROR`]: an errno, or 0 for one that is not told.
    pub error: u32,
}

impl Header {
    /// Bytes of a header.
    pub const SIZE: usize = size_of::<HeaderWire>();

    /// Reads a header.
    #[must_use]
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        let wire: HeaderWire = zerocopy::transmute!(*bytes);
        Self {
            id: wire.id,
            command: Command(wire.command),
            size: wire.size,
            flags: HeaderFlags::from_bits_retain(wire.flags),
            error: wire.error,
        }
    }

    /// The bytes of the header.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        zerocopy::transmute!(HeaderWire {
            id: self.id,
            command: self.command.0,
            size: self.size,
            flags: self.flags.bits(),
            error: self.error,
        })
    }

    /// What kind of message it is.
    #[must_use]
    pub fn message_type(&self) -> MessageType {
        match self.flags & HeaderFlags::TYPE_MASK {
            HeaderFlags::REPLY => MessageType::Reply,
            flags if flags.is_empty() => MessageType::Command,
            _ => MessageType::Unknown,
        }
    }

    /// What a reply says of its command.
    ///
    /// # Errors
    ///
    /// The peer's errno; EIO if it does not tell one, EPROTO if it is none.
    pub fn outcome(&self) -> Result<(), Errno> {
        if !self.flags.contains(HeaderFlags::ERROR) {
            return Ok(());
        }
        // Error numbers end at 4095 (`MAX_ERRNO`, `include/linux/err.h`).
        Err(match i32::try_from(self.error) {
            Ok(0) => Errno::EIO,
            Ok(errno @ 1..=4095) => Errno(errno),
            _ => Errno::EPROTO,
        })
    }

    /// The header of the answer, `size` bytes of message in all.
    #[must_use]
    pub fn reply(&self, size: u32, outcome: Result<(), Errno>) -> Self {
        let (flags, error) = match outcome {
            Ok(()) => (HeaderFlags::REPLY, 0),
            Err(Errno(errno)) => (
                HeaderFlags::REPLY | HeaderFlags::ERROR,
                // A device that fails with no errno at all is answered without one.
                u32::try_from(errno).unwrap_or(0),
            ),
        };
        Self {
            id: self.id,
            command: self.command,
            size,
            flags,
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: Header = Header {
        id: 0x1234,
        command: Command::REGION_READ,
        size: 32,
        flags: HeaderFlags::empty(),
        error: 0,
    };

    #[test]
    fn header_survives_the_wire() {
        assert_eq!(Header::decode(&COMMAND.encode()), COMMAND);
        assert_eq!(COMMAND.encode()[..4], [0x34, 0x12, 9, 0]);
    }

    #[test]
    fn message_type_is_the_low_four_bits_alone() {
        let typed = |flags| Header {
            flags: HeaderFlags::from_bits_retain(flags),
            ..COMMAND
        };

        assert_eq!(typed(0x30).message_type(), MessageType::Command);
        assert_eq!(typed(0x31).message_type(), MessageType::Reply);
        assert_eq!(typed(0x02).message_type(), MessageType::Unknown);
        assert_eq!(typed(0x11).message_type(), MessageType::Reply);
    }

    #[test]
    fn error_reply_carries_flag_and_errno() {
        let reply = COMMAND.reply(16, Err(Errno::EINVAL));

        assert_eq!(reply.flags.bits(), 0x21);
        assert_eq!(reply.error, 22);
        assert_eq!(reply.id, COMMAND.id);
        assert_eq!(reply.outcome(), Err(Errno::EINVAL));
    }

    #[test]
    fn error_flag_counts_even_without_an_errno_and_the_errno_not_without_the_flag() {
        let reply = |flags, error| Header {
            flags: HeaderFlags::from_bits_retain(flags),
            error,
            ..COMMAND
        };

        assert_eq!(reply(0x21, 0).outcome(), Err(Errno::EIO));
        assert_eq!(reply(0x01, 22).outcome(), Ok(()));
        assert_eq!(reply(0x21, 4096).outcome(), Err(Errno::EPROTO));
        assert_eq!(reply(0x21, u32::MAX).outcome(), Err(Errno::EPROTO));
    }
}
