//! What a scraper asks, read from bytes that anybody may have sent.

/// Bytes the head of a request may have.
pub(super) const HEAD_LIMIT: usize = 4096;

/// What the bytes so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The head is not complete.
    More,
    /// Asked for the metrics, body and all or without it.
    Metrics(Body),
    /// Asked for something else.
    Refused(Refusal),
}

/// Whether the answer has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// `GET`.
    Sent,
    /// `HEAD`.
    Left,
}

/// Why there are no metrics in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No HTTP.
    Malformed,
    /// Another path.
    NotFound,
    /// Another method.
    Method,
    /// A longer head than any scraper sends.
    TooLong,
}

/// Reads a request. Headers are passed over: nothing depends on them.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .or_else(|| bytes.windows(2).position(|window| window == b"\n\n"));
    if end.is_none() {
        return match bytes.len() < HEAD_LIMIT {
            true => Parsed::More,
            false => Parsed::Refused(Refusal::TooLong),
        };
    }
    let line = bytes.split(|&byte| byte == b'\n').next();
    match line.and_then(|line| std::str::from_utf8(line).ok()) {
        Some(line) => parse_line(line.trim_end_matches('\r')),
        None => Parsed::Refused(Refusal::Malformed),
    }
}

fn parse_line(line: &str) -> Parsed {
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else {
        return Parsed::Refused(Refusal::Malformed);
    };
    if !version.starts_with("HTTP/1.") {
        return Parsed::Refused(Refusal::Malformed);
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    match (method, path) {
        ("GET", "/metrics") => Parsed::Metrics(Body::Sent),
        ("HEAD", "/metrics") => Parsed::Metrics(Body::Left),
        ("GET" | "HEAD", _) => Parsed::Refused(Refusal::NotFound),
        _ => Parsed::Refused(Refusal::Method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_of_a_scrape_is_a_request_for_metrics_whatever_the_headers() {
        let scrapes = [
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
            "GET /metrics HTTP/1.0\r\n\r\n",
            "GET /metrics?collect=all HTTP/1.1\r\n\r\n",
            "GET /metrics HTTP/1.0\n\n",
        ];
        for scrape in scrapes {
            assert_eq!(
                parse(scrape.as_bytes()),
                Parsed::Metrics(Body::Sent),
                "{scrape}"
            );
        }
        let head = b"HEAD /metrics HTTP/1.1\r\n\r\n";
        assert_eq!(parse(head), Parsed::Metrics(Body::Left));
    }

    #[test]
    fn parse_of_every_beginning_of_a_scrape_waits_for_more() {
        let scrape = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for length in 0..scrape.len() {
            assert_eq!(parse(&scrape[..length]), Parsed::More, "{length}");
        }
    }

    #[test]
    fn parse_of_anything_else_is_refused_with_its_reason() {
        let cases: [(&[u8], Refusal); 7] = [
            (b"GET / HTTP/1.1\r\n\r\n", Refusal::NotFound),
            (b"POST /metrics HTTP/1.1\r\n\r\n", Refusal::Method),
            (b"GET /metrics HTTP/2\r\n\r\n", Refusal::Malformed),
            (b"GET /metrics\r\n\r\n", Refusal::Malformed),
            (b"GET  /metrics HTTP/1.1\r\n\r\n", Refusal::Malformed),
            (b"\xff\xfe /metrics HTTP/1.1\r\n\r\n", Refusal::Malformed),
            (b"\r\n\r\n", Refusal::Malformed),
        ];
        for (bytes, refusal) in cases {
            assert_eq!(
                parse(bytes),
                Parsed::Refused(refusal),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn parse_of_a_head_without_an_end_is_refused_at_the_limit() {
        let endless = [b'a'; HEAD_LIMIT];
        assert_eq!(parse(&endless[1..]), Parsed::More);
        assert_eq!(parse(&endless), Parsed::Refused(Refusal::TooLong));
    }

    #[test]
    fn parse_of_random_bytes_never_panics() {
        let mut random = fastrand::Rng::with_seed(8);
        for _ in 0..10_000 {
            let alphabet = b"GET /metrics HTTP/1.1\r\n\r\n\0\xff:";
            let length = random.usize(..64);
            let bytes: Vec<u8> = (0..length)
                .map(|_| alphabet[random.usize(..alphabet.len())])
                .collect();
            let _answered = parse(&bytes);
        }
    }
}
