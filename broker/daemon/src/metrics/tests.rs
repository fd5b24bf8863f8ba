use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;

use irqbroker_protocol::Counts;
use irqbroker_protocol::LinkRow;
use irqbroker_protocol::PathPolicy;
use irqbroker_protocol::ReasonCode;
use irqbroker_protocol::State;
use irqbroker_protocol::Status;

use super::*;

pub(crate) fn status() -> Status {
    Status {
        daemon: "irqbroker 0.1.0".into(),
        pid: 1,
        run: 2,
        uptime_ms: 1500,
        connections: 3,
        producers: 4,
        consumers: 5,
        lingering: 0,
        links: Counts {
            relay: 6,
            ..Counts::default()
        },
        fds: 7,
        relayed: 8,
        recovered: 0,
        requests: 9,
        refused: 0,
        wakeups: 10,
        vgpus: 0,
        sandbox: None,
        reload: None,
    }
}

fn row() -> LinkRow {
    LinkRow {
        id: 12,
        link: None,
        token: 40,
        producer: "vgpu0.head0".parse().ok(),
        consumer: None,
        state: State::Unmatched,
        reason: "no consumer has this token".into(),
        reason_code: ReasonCode::NoConsumer,
        route: None,
        events: 77,
        path: PathPolicy::Auto,
    }
}

#[test]
fn text_has_the_daemons_figures_a_series_per_link_and_an_end() {
    let text = encode(status(), vec![row()]);
    let lines = [
        "irqbroker_connections 3",
        "irqbroker_relayed_total 8",
        "irqbroker_links{state=\"relay\"} 6",
        "irqbroker_link_relayed_total{link=\"12\",producer=\"vgpu0.head0\",consumer=\"\"} 77",
        "irqbroker_link_state{link=\"12\",producer=\"vgpu0.head0\",consumer=\"\",\
         state=\"unmatched\",reason=\"no-consumer\"} 1",
    ];
    for line in lines {
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in\n{text}"
        );
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn text_explains_every_metric() {
    let text = encode(status(), vec![row()]);
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(
            text.contains(&format!("# HELP {name} ")),
            "{name} has no help"
        );
    }
}

/// An endpoint, and how to connect to it.
struct Rig {
    endpoint: MetricsEndpoint,
    folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("metrics")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = MetricsEndpoint::new(listener.into()).unwrap();
        Self { endpoint, folder }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join("metrics")).unwrap()
    }

    /// Lets the endpoint do what there is to do: take a connection, then read from it.
    fn service(&mut self, text: &str) {
        for _ in 0..2 {
            self.endpoint.service(|| text.to_owned()).unwrap();
        }
    }
}

fn answer(mut stream: UnixStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn endpoint_answers_a_scrape_and_closes() {
    let mut rig = Rig::new();
    let mut scraper = rig.connect();
    scraper.write_all(SCRAPE).unwrap();
    rig.service("a 1\n# EOF\n");
    let text = answer(scraper);
    assert!(text.starts_with("HTTP/1.0 200 OK\r\n"), "{text}");
    assert!(text.contains("Content-Length: 10\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\na 1\n# EOF\n"), "{text}");
}

#[test]
fn endpoint_waits_for_a_request_that_comes_in_parts() {
    let mut rig = Rig::new();
    let mut scraper = rig.connect();
    for part in SCRAPE.chunks(7) {
        scraper.write_all(part).unwrap();
        rig.service("# EOF\n");
    }
    assert!(answer(scraper).ends_with("# EOF\n"));
}

#[test]
fn endpoint_sends_more_than_a_socket_holds_as_the_scraper_reads() {
    let mut rig = Rig::new();
    let mut scraper = rig.connect();
    scraper.write_all(SCRAPE).unwrap();
    // Well beyond a socket's buffer (net.core.wmem_default, 208 KiB).
    let text = "a 1\n".repeat(1 << 18);
    rig.service(&text);
    scraper.set_nonblocking(true).unwrap();
    let mut read = Vec::new();
    let mut rounds = 0;
    loop {
        match scraper.read_to_end(&mut read) {
            Ok(_) => break,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                rig.service("only once");
                rounds += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(rounds > 0);
    assert!(read.ends_with(b"a 1\n"));
    assert!(read.len() > text.len());
}

#[test]
fn endpoint_answers_what_is_no_scrape_with_an_error_and_goes_on() {
    let mut rig = Rig::new();
    for bytes in [&b"POST / HTTP/1.1\r\n\r\n"[..], &[0; 4096], b"GET"] {
        let mut other = rig.connect();
        other.write_all(bytes).unwrap();
        other.shutdown(Shutdown::Write).unwrap();
        rig.service("never");
        assert!(answer(other).starts_with("HTTP/1.0 4"), "{bytes:?}");
    }
    let mut scraper = rig.connect();
    scraper.write_all(SCRAPE).unwrap();
    rig.service("# EOF\n");
    assert!(answer(scraper).ends_with("# EOF\n"));
}

#[test]
fn endpoint_with_all_places_taken_by_idle_scrapers_still_answers() {
    let mut rig = Rig::new();
    // Twice as many as there are places.
    let idle: Vec<UnixStream> = (0..32).map(|_| rig.connect()).collect();
    for _ in &idle {
        rig.service("never");
    }
    let mut scraper = rig.connect();
    scraper.write_all(SCRAPE).unwrap();
    rig.service("# EOF\n");
    assert!(answer(scraper).ends_with("# EOF\n"));
    // The oldest lost its place; the newest has one.
    assert_eq!(answer(idle.into_iter().next().unwrap()), "");
}
