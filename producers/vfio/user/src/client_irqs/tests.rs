use std::os::fd::AsFd;

use super::*;

/// Where the chunks of a pattern begin and end.
fn ranges(pattern: &str, max_fds: usize) -> Vec<(usize, usize)> {
    let file = std::fs::File::open("/dev/null").expect("a file");
    let fds: Vec<_> = pattern
        .chars()
        .map(|char| (char == 'x').then(|| file.as_fd()))
        .collect();
    let chunks = chunks(&fds, max_fds).into_iter();
    chunks.map(|chunk| (chunk.start, chunk.end)).collect()
}

#[test]
fn chunks_are_of_at_most_so_many_fds() {
    assert_eq!(ranges("xxxxx", 2), [(0, 2), (2, 4), (4, 5)]);
    assert_eq!(ranges("xxxx", 4), [(0, 4)]);
    assert_eq!(ranges("xx", 1), [(0, 1), (1, 2)]);
}

#[test]
fn chunks_end_where_binding_turns_into_unbinding() {
    assert_eq!(ranges("xx..x", 8), [(0, 2), (2, 4), (4, 5)]);
    assert_eq!(ranges(".xxx", 2), [(0, 1), (1, 3), (3, 4)]);
}

#[test]
fn unbinding_is_one_chunk_whatever_its_length() {
    assert_eq!(ranges("......", 1), [(0, 6)]);
    assert_eq!(ranges("......", 0), [(0, 6)]);
}

#[test]
fn nothing_is_no_chunk() {
    assert_eq!(ranges("", 8), []);
}
