//! What the identity of an eventfd rests on.

use super::check::Check;
use super::check::Group;
use super::check::Status;
use super::host::Host;

/// The check on the id that tokens are made of.
pub(crate) const ID: &str = "eventfd-id";

/// Asks what the kernel tells of an eventfd.
pub(crate) fn checks(host: &dyn Host) -> Vec<Check> {
    let facts = host.eventfd();
    let id = Check {
        group: Group::Eventfd,
        name: ID,
        status: Status::found_if(facts.id.is_some()),
        detail: match facts.id {
            Some(_) => "eventfds carry an id, which tokens are made of",
            None => "no id is shown: Linux 5.2 or newer and a mounted /proc are needed",
        }
        .to_owned(),
        cost: "producer and consumer cannot be matched",
        call: "read(/proc/self/fdinfo/EVENTFD): eventfd-id".to_owned(),
        answer: facts
            .id
            .map_or_else(|| "not shown".to_owned(), |id| id.to_string()),
    };
    let semaphore = Check {
        group: Group::Eventfd,
        name: "eventfd-semaphore",
        status: Status::found_if(facts.shows_semaphore),
        detail: match facts.shows_semaphore {
            true => "a semaphore eventfd is recognised and refused",
            false => "a semaphore eventfd looks like any other before Linux 6.5",
        }
        .to_owned(),
        cost: "a semaphore eventfd is taken, and its events arrive late",
        call: "read(/proc/self/fdinfo/SEMAPHORE_EVENTFD): eventfd-semaphore".to_owned(),
        answer: match facts.shows_semaphore {
            true => "1",
            false => "not shown",
        }
        .to_owned(),
    };
    let same_file = Check {
        group: Group::Eventfd,
        name: "F_DUPFD_QUERY",
        status: Status::found_if(facts.same_file == Some(true)),
        detail: match facts.same_file {
            Some(true) => "one call proves that two fds are one eventfd",
            Some(false) => "the kernel denies that a dup is the same file",
            None => "the kernel cannot tell before Linux 6.10",
        }
        .to_owned(),
        cost: "a known token is looked up about twenty times slower",
        call: "fcntl(EVENTFD, F_DUPFD_QUERY, dup(EVENTFD))".to_owned(),
        answer: match facts.same_file {
            Some(true) => "1",
            Some(false) => "0",
            None => "refused",
        }
        .to_owned(),
    };
    vec![id, semaphore, same_file]
}
