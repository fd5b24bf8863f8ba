//! The answer to a scraper.

use super::request::Body;
use super::request::Refusal;

/// OpenMetrics 1.0, section "Media types".
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics, or their length alone.
pub(super) fn metrics(text: &str, body: Body) -> Vec<u8> {
    let sent = match body {
        Body::Sent => text,
        Body::Left => "",
    };
    let head = head("200 OK", OPENMETRICS, text.len());
    [head.as_bytes(), sent.as_bytes()].concat()
}

/// Why there are none.
pub(super) fn refusal(refusal: Refusal) -> Vec<u8> {
    let (status, text) = match refusal {
        Refusal::Malformed => ("400 Bad Request", "not a request of HTTP/1\n"),
        Refusal::NotFound => ("404 Not Found", "the metrics are at /metrics\n"),
        Refusal::Method => ("405 Method Not Allowed", "GET or HEAD\n"),
        Refusal::TooLong => (
            "431 Request Header Fields Too Large",
            "at most 4096 bytes\n",
        ),
    };
    let head = head(status, "text/plain; charset=utf-8", text.len());
    [head.as_bytes(), text.as_bytes()].concat()
}

fn head(status: &str, content: &str, length: usize) -> String {
    format!(
        "HTTP/1.0 {status}\r\nContent-Type: {content}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    )
}
