//! What one viewer has been told and wants: bytes in, bytes out, and nothing else.

mod size;

use std::io;
use std::sync::Arc;

use super::encoding::Encoder;
use super::encoding::Encoding;
use super::error::ProtocolError;
use super::format::Format;
use super::handshake;
use super::handshake::Phase;
use super::message;
use super::message::Message;
use super::message::Request;
use super::options::Resize;
use super::password::CHALLENGE;
use super::replies::Replies;
use super::screen::Screen;
use super::security::Security;
use super::shown::Shown;
use super::update;
use super::update::Update;
use super::wishes::Size;
use crate::cursor::Cursor;
use crate::damage::Damage;
use crate::rect::Rect;

/// What a session is made with.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) security: Security,
    pub(super) challenge: [u8; CHALLENGE],
    /// What the viewer may show as its window's title.
    pub(super) name: Arc<str>,
    /// See [`VncLimits`](super::VncLimits).
    pub(super) cut_text_max: u32,
    pub(super) resize: Resize,
}

/// What the viewer understands.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// That which it likes best, of those that are sent.
    encoding: Option<Encoding>,
    cursor: bool,
    pointer: bool,
    size: bool,
    extended_size: bool,
}

/// What it is to be told with the next update.
#[derive(Debug, Clone, Copy, Default)]
struct Owed {
    init: bool,
    /// The extended size, by itself.
    size: bool,
    cursor: bool,
    pointer: bool,
}

/// A viewer.
#[derive(Debug)]
pub(super) struct Session {
    terms: Terms,
    phase: Phase,
    /// Why nobody is let in for now.
    refusal: Option<ProtocolError>,
    /// The beginning of a message; never more than the longest there is and what came last.
    inbox: Vec<u8>,
    /// Bytes of a text that are still to come.
    skip: u32,
    format: Format,
    known: Known,
    /// The size it knows.
    size: (u16, u16),
    /// What it has not been sent yet.
    damage: Damage,
    /// Whether it has ever asked for an update.
    has_asked: bool,
    /// Where it wants to know of changes, and where of all.
    requested: Option<Rect>,
    refresh: Option<Rect>,
    owed: Owed,
    /// The size it wants, if that was not taken from here yet.
    wish: Option<Size>,
    replies: Replies,
    /// Whether it has been told of a cursor: until then it keeps its own.
    has_cursor: bool,
    /// The one in its picture, or on the way there, if it cannot be told of any.
    painted: Option<Cursor>,
    encoder: Encoder,
    update: Option<Update>,
}

impl Session {
    /// A session that has just begun; appends the first words.
    pub(super) fn new(terms: Terms, out: &mut Vec<u8>) -> Self {
        out.extend(handshake::VERSION);
        Self {
            terms,
            phase: Phase::Version,
            refusal: None,
            inbox: Vec::new(),
            skip: 0,
            format: Format::FRAME,
            known: Known::default(),
            size: (0, 0),
            damage: Damage::none(0, 0),
            has_asked: false,
            requested: None,
            refresh: None,
            owed: Owed::default(),
            wish: None,
            replies: Replies::default(),
            has_cursor: false,
            painted: None,
            encoder: Encoder::default(),
            update: None,
        }
    }

    /// Whether the handshake is over.
    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether it is behind its handshake, and has asked for nothing so far.
    pub(super) fn is_idle(&self) -> bool {
        self.is_running() && !self.has_asked
    }

    /// Whether it waits for something that depends on what is shown.
    pub(super) fn waits(&self) -> bool {
        self.is_running() && (self.owed.init || self.requested.is_some())
    }

    /// From here on nobody is let in, for this reason, or whoever knows the password is. One that is
    /// let in already stays.
    pub(super) fn set_refusal(&mut self, refusal: Option<ProtocolError>) {
        self.refusal = refusal;
    }

    /// Takes what the viewer has sent. What is appended is an answer of the handshake.
    ///
    /// # Errors
    ///
    /// See [`ProtocolError`]. The session is over once what was appended is sent.
    pub(super) fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.extend(bytes);
        let mut at = 0;
        loop {
            let rest = inbox.get(at..).unwrap_or_default();
            let skipped = usize::try_from(self.skip)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            self.skip -= u32::try_from(skipped).unwrap_or(self.skip);
            let Some(used) = self.step(&rest[skipped..], out)? else {
                at += skipped;
                break;
            };
            at += skipped + used;
        }
        inbox.drain(..at);
        self.inbox = inbox;
        Ok(())
    }

    /// Takes the message at the beginning, and returns how long it is; none if it is not whole.
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, ProtocolError> {
        if self.skip > 0 {
            return Ok(None);
        }
        let security = self.refusal.map_or(Ok(&self.terms.security), Err);
        let challenge = self.terms.challenge;
        match self.phase {
            Phase::Version => {
                let Some(version) = bytes.first_chunk() else {
                    return Ok(None);
                };
                self.phase = handshake::offer(security, challenge, version, out)?;
                Ok(Some(version.len()))
            }
            Phase::Choice(dialect) => {
                let Some(&choice) = bytes.first() else {
                    return Ok(None);
                };
                self.phase = handshake::choose(dialect, security, challenge, choice, out)?;
                Ok(Some(1))
            }
            Phase::Response(dialect) => {
                let Some(&response) = bytes.first_chunk() else {
                    return Ok(None);
                };
                self.phase = handshake::authenticate(dialect, security, challenge, response, out)?;
                Ok(Some(CHALLENGE))
            }
            Phase::Init => {
                // The flag asks to share the display, which is always done.
                if bytes.is_empty() {
                    return Ok(None);
                }
                // It knew the password when it was asked, but others came in meanwhile. RFB has no
                // words for that here.
                if self.refusal == Some(ProtocolError::Full) {
                    return Err(ProtocolError::Full);
                }
                self.owed.init = true;
                self.phase = Phase::Running;
                Ok(Some(1))
            }
            Phase::Running => {
                let Some((message, len)) = message::parse(bytes, self.terms.cut_text_max)? else {
                    return Ok(None);
                };
                self.take(message);
                Ok(Some(len))
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::PixelFormat(format) => {
                self.format = format;
                // The one it has is in the format before.
                self.owed.cursor = true;
            }
            Message::Encodings(list) => self.learn(&list),
            Message::UpdateRequest { part, request } => {
                if request == Request::Full {
                    self.refresh = Some(bounding(self.refresh, part));
                }
                self.requested = Some(bounding(self.requested, part));
                self.has_asked = true;
            }
            Message::CutText { len } => self.skip = len,
            // Nobody asks for it who was not told that there is such a thing.
            Message::SetDesktopSize(layout) if self.known.extended_size => self.wish(layout),
            Message::SetDesktopSize(_) => {}
            Message::Input => {}
        }
    }

    fn learn(&mut self, list: &[i32]) {
        let knows = |number| list.contains(&number);
        let before = self.known;
        self.known = Known {
            encoding: list.iter().find_map(|&number| Encoding::of_number(number)),
            cursor: knows(update::CURSOR),
            pointer: knows(update::POINTER_POSITION),
            size: knows(update::DESKTOP_SIZE),
            extended_size: knows(update::EXTENDED_DESKTOP_SIZE),
        };
        self.owed.cursor |= self.known.cursor && !before.cursor;
        self.owed.pointer |= self.known.pointer && !before.pointer;
        if self.known.extended_size && !before.extended_size {
            // This is how a viewer learns that there is such a thing.
            self.owed.size = true;
        }
        if !self.known.extended_size {
            self.wish = None;
            self.replies.forget();
        }
    }

    /// Parts of the picture are new.
    pub(super) fn drawn(&mut self, damage: &Damage) {
        self.damage.merge(damage);
    }

    /// The picture is another.
    pub(super) fn replaced(&mut self) {
        self.damage = Damage::all(self.size.0, self.size.1);
    }

    /// The cursor looks different.
    pub(super) fn cursor_changed(&mut self) {
        self.owed.cursor = true;
    }

    /// The cursor is elsewhere.
    pub(super) fn pointer_moved(&mut self) {
        self.owed.pointer = true;
    }

    /// Appends the next piece of what the viewer is to be sent, if there is anything. To be called
    /// when what was appended before is sent.
    ///
    /// # Errors
    ///
    /// A compressor failed. The session is over.
    pub(super) fn fill(&mut self, screen: &Screen, out: &mut Vec<u8>) -> io::Result<()> {
        if self.owed.init {
            self.owed.init = false;
            self.init(screen, out);
        } else if self.update.is_none() && self.is_running() {
            self.begin(screen, out);
        }
        if let Some(update) = &mut self.update {
            update.append_piece(&mut self.encoder, out)?;
            if update.is_done() {
                self.update = None;
            }
        }
        Ok(())
    }

    /// ServerInit.
    fn init(&mut self, screen: &Screen, out: &mut Vec<u8>) {
        self.size = screen.size();
        self.damage = Damage::none(self.size.0, self.size.1);
        out.extend(self.size.0.to_be_bytes());
        out.extend(self.size.1.to_be_bytes());
        out.extend(Format::FRAME.encode());
        handshake::text(&self.terms.name, out);
    }

    /// Begins what the viewer has asked for and not been told yet.
    fn begin(&mut self, screen: &Screen, out: &mut Vec<u8>) {
        let Some(requested) = self.requested else {
            return;
        };
        if self.resize(screen, out) {
            // What was asked for is sent behind it: the picture in its new size.
            return;
        }
        if let Some(refresh) = self.refresh.take() {
            self.damage.mark(refresh);
        }
        let cursor =
            self.known.cursor && self.owed.cursor && (self.has_cursor || screen.cursor.is_some());
        let at = screen.cursor.as_ref().map(Cursor::points_at);
        let at = at.filter(|_| self.known.pointer && self.owed.pointer);
        self.paint_cursor(screen);
        let parts = self.damage.take(requested);
        if parts.is_empty() && !cursor && at.is_none() {
            return;
        }
        self.requested = None;
        let extra = u16::from(cursor) + u16::from(at.is_some());
        let shown = Shown {
            frame: Arc::clone(&screen.frame),
            cursor: self.painted.clone(),
        };
        let encoding = self.known.encoding.unwrap_or(Encoding::Raw);
        let update = Update::begin(shown, self.format, encoding, parts, extra, out);
        if cursor {
            self.owed.cursor = false;
            self.has_cursor = true;
            let shape = screen.cursor.as_ref().map(|cursor| &*cursor.shape);
            update::cursor(shape, self.format, out);
        }
        if let Some(at) = at {
            self.owed.pointer = false;
            update::pointer(at, out);
        }
        self.update = Some(update);
    }

    /// Has the cursor in the picture for a viewer that cannot be told of it.
    fn paint_cursor(&mut self, screen: &Screen) {
        let now = screen.cursor.as_ref().filter(|_| !self.known.cursor);
        if self.painted.as_ref() == now {
            return;
        }
        let before = std::mem::replace(&mut self.painted, now.cloned());
        for cursor in before.iter().chain(now) {
            if let Some(part) = cursor.covers() {
                self.damage.mark(part);
            }
        }
    }
}

fn bounding(part: Option<Rect>, other: Rect) -> Rect {
    part.map_or(other, |part| part.bounding(other))
}

#[cfg(test)]
mod tests;
