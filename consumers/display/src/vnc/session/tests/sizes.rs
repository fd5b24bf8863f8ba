//! Wishes for other sizes and mode changes, in any order.

use proptest::prelude::*;

use super::*;
use crate::vnc::replies::Status;

/// Something that concerns the size.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The viewer asks for another size, and for what is new.
    Wish,
    /// It is known what comes of it.
    Answer(Status),
    /// The guest sets the mode.
    Mode(u16, u16),
    /// What there is is sent.
    Send,
}

fn step() -> impl Strategy<Value = Step> {
    let statuses = [
        Status::Done,
        Status::Prohibited,
        Status::OutOfResources,
        Status::InvalidLayout,
        Status::Forwarded,
    ];
    prop_oneof![
        Just(Step::Wish),
        prop::sample::select(statuses.to_vec()).prop_map(Step::Answer),
        (1..100u16, 1..40u16).prop_map(|(width, height)| Step::Mode(width, height)),
        Just(Step::Send),
    ]
}

/// SetDesktopSize with one screen of this size.
fn wish(width: u16, height: u16) -> Vec<u8> {
    let [[w0, w1], [h0, h1]] = [width, height].map(u16::to_be_bytes);
    let mut bytes = vec![251, 0, w0, w1, h0, h1, 1, 0];
    bytes.extend([0, 0, 0, 7, 0, 0, 0, 0, w0, w1, h0, h1, 0, 0, 0, 0]);
    bytes
}

/// A session with what its viewer has understood so far.
struct Watched {
    session: Session,
    decoder: Decoder,
    screen: Screen,
}

impl Watched {
    fn new(resize: Resize) -> Self {
        let screen = screen(SIZE.0, SIZE.1);
        let terms = Terms {
            resize,
            ..terms(Security::None)
        };
        let mut session = Session::new(terms, &mut Vec::new());
        answer(&mut session, b"RFB 003.008\n\x01\x01").unwrap();
        answer(&mut session, &encodings(&[update::EXTENDED_DESKTOP_SIZE])).unwrap();
        session.fill(&screen, &mut Vec::new()).unwrap();
        let mut decoder = Decoder::default();
        decoder.size = Some(SIZE);
        Self {
            session,
            decoder,
            screen,
        }
    }

    fn change_mode(&mut self, width: u16, height: u16) {
        self.screen = screen(width, height);
        self.session.replaced();
    }

    /// Asks for what is new, and takes what comes: pixels of what is shown now, all of them within the
    /// size that the viewer knows.
    fn look(&mut self) -> Received {
        let all = Rect::of_size(u16::MAX, u16::MAX);
        answer(&mut self.session, &request(INCREMENTAL, all)).unwrap();
        let bytes = drain(&mut self.session, &self.screen);
        let received = self.decoder.decode(&bytes, Format::FRAME);
        for size in &received.at_sizes {
            assert_eq!(*size, Some(self.screen.size()));
        }
        received
    }
}

#[test]
fn wish_that_is_refused_while_the_mode_changes_leaves_the_viewer_with_the_size_there_is() {
    for refused_first in [true, false] {
        let mut watched = Watched::new(Resize::Refused);
        watched.look();
        if refused_first {
            answer(&mut watched.session, &wish(80, 60)).unwrap();
            watched.change_mode(50, 20);
        } else {
            watched.change_mode(50, 20);
            answer(&mut watched.session, &wish(80, 60)).unwrap();
        }
        let received = watched.look();
        let reasons = received.sizes.iter().map(|(_, about)| (about.x, about.y));
        assert_eq!(reasons.collect::<Vec<_>>(), [(1, 1), (0, 0)]);
        assert_eq!(watched.decoder.size, Some((50, 20)));
        assert!(received.frame(50, 20) == *watched.screen.frame);
    }
}

proptest! {
    #[test]
    fn viewer_knows_the_size_of_each_picture_whatever_became_of_its_wishes(
        resize in prop::sample::select(vec![Resize::Refused, Resize::Monitor]),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut watched = Watched::new(resize);
        for step in steps {
            match step {
                Step::Wish => {
                    answer(&mut watched.session, &wish(80, 60)).unwrap();
                }
                Step::Answer(status) => {
                    watched.session.take_wish();
                    watched.session.answer(status);
                }
                Step::Mode(width, height) => watched.change_mode(width, height),
                Step::Send => {
                    watched.look();
                }
            }
        }
        watched.session.answer(Status::Forwarded);
        watched.session.replaced();
        let received = watched.look();
        let (width, height) = watched.screen.size();
        prop_assert_eq!(watched.decoder.size, Some((width, height)));
        prop_assert!(received.frame(width, height) == *watched.screen.frame);
    }
}
