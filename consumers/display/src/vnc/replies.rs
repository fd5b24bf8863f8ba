//! What a viewer is answered that wants another size: each wish once, in order.

use std::collections::VecDeque;

/// What came of a wish, by the numbers of the ExtendedDesktopSize encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Status {
    /// The picture has this size.
    Done = 0,
    /// It is not for a viewer to change it.
    Prohibited = 1,
    /// The device does not take it.
    OutOfResources = 2,
    /// Not one screen, or none of a size that can be shown.
    InvalidLayout = 3,
    /// The guest is told, and has to set the mode.
    Forwarded = 4,
}

/// How many answers are kept for a viewer that does not take them. Of those beyond, the oldest are not given.
pub(super) const REPLIES_MAX: usize = 16;

/// The answers that a viewer has not got.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// In the order of the wishes; none where it is not known yet what comes of it.
    owed: VecDeque<Option<Status>>,
}

impl Replies {
    /// A wish came of which it is known what comes of it, or is not.
    pub(super) fn owe(&mut self, status: Option<Status>) {
        if self.owed.len() == REPLIES_MAX {
            self.owed.pop_front();
        }
        self.owed.push_back(status);
    }

    /// It is known now, of all of them.
    pub(super) fn decide(&mut self, status: Status) {
        for owed in &mut self.owed {
            owed.get_or_insert(status);
        }
    }

    /// Those that can be given.
    pub(super) fn take(&mut self) -> Vec<Status> {
        let known = self.owed.iter().map_while(|owed| *owed).count();
        self.owed.drain(..known).flatten().collect()
    }

    /// Takes all of them back.
    pub(super) fn forget(&mut self) {
        self.owed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Owe(Option<Status>),
        Decide(Status),
        Take,
    }

    fn steps() -> impl Strategy<Value = Step> {
        let status =
            prop::sample::select(vec![Status::Done, Status::Prohibited, Status::Forwarded]);
        prop_oneof![
            prop::option::of(status.clone()).prop_map(Step::Owe),
            status.prop_map(Step::Decide),
            Just(Step::Take),
        ]
    }

    proptest! {
        /// Against a list of all wishes, each with what came of it; no more than are kept.
        #[test]
        fn each_wish_is_answered_once_in_order_and_none_before_it_is_decided(
            steps in proptest::collection::vec(steps(), 0..REPLIES_MAX),
        ) {
            let mut replies = Replies::default();
            let (mut wishes, mut given) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Owe(status) => {
                        replies.owe(status);
                        wishes.push(status);
                    }
                    Step::Decide(status) => {
                        replies.decide(status);
                        wishes.iter_mut().for_each(|wish| *wish = wish.or(Some(status)));
                    }
                    Step::Take => {
                        given.extend(replies.take());
                        let known: Vec<_> = wishes.iter().map_while(|wish| *wish).collect();
                        prop_assert_eq!(&given, &known);
                    }
                }
            }
        }
    }

    #[test]
    fn answers_are_given_in_the_order_of_their_wishes() {
        let mut replies = Replies::default();
        replies.owe(Some(Status::InvalidLayout));
        replies.owe(None);
        replies.owe(None);
        replies.owe(Some(Status::Prohibited));
        assert_eq!(replies.take(), [Status::InvalidLayout]);
        assert_eq!(replies.take(), []);
        replies.decide(Status::Forwarded);
        let (forwarded, prohibited) = (Status::Forwarded, Status::Prohibited);
        assert_eq!(replies.take(), [forwarded, forwarded, prohibited]);
        assert_eq!(replies.take(), []);
    }

    #[test]
    fn answers_that_nobody_takes_are_kept_up_to_a_limit() {
        let mut replies = Replies::default();
        replies.owe(Some(Status::InvalidLayout));
        // More than are kept.
        (0..REPLIES_MAX).for_each(|_| replies.owe(None));
        replies.decide(Status::Done);
        assert_eq!(replies.take(), [Status::Done; REPLIES_MAX]);
    }
}
