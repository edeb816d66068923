//! A client of servers under test: one request over a connection of its own, and what comes back.
//!
//! In scope: requests with this very path and these very headers, or of these very bytes; answers with all their headers,
//! also those that come twice; answers without an end. Out of scope: following, cookies, TLS, undoing chunks, in which a
//! server sends streams alone. Trust: an answer that is no HTTP, or does not come, fails the test that asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long a server may send nothing before it counts as hanging.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in their order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Of head and body of a whole answer.
    #[track_caller]
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.expect("an answer has a head");
        let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|code| code.parse::<u16>().ok());
        let header = |line: &str| {
            let (name, value) = line.split_once(':').expect("a header has a name and a value");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self {
            status: status.expect("an answer begins with its status"),
            headers: lines.map(header).collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    /// Of all that comes until the server closes the connection.
    #[track_caller]
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Self::parse(&bytes)
    }

    /// The first header of this name, which is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text; what is no UTF-8 in it is replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Asks, and reads to the end. `request`: a method and a path, such as `GET /healthz`, which are sent as they are.
///
/// Sends `Connection` and `Content-Length`, and `Host` unless it is among the headers.
#[track_caller]
pub(crate) fn ask(address: SocketAddr, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    Answer::read(send(address, request, headers, body))
}

/// As [`ask`], for what may have no end: what had come when nothing more came for `quiet`.
#[track_caller]
pub(crate) fn listen(
    address: SocketAddr,
    request: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    quiet: Duration,
) -> Answer {
    let mut stream = send(address, request, headers, body);
    let (mut bytes, mut part) = (Vec::new(), [0; 8192]);
    while let Ok(count @ 1..) = stream.read(&mut part) {
        bytes.extend_from_slice(&part[..count]);
        // Only now: the first piece may take as long as any answer.
        stream.set_read_timeout(Some(quiet)).unwrap();
    }
    Answer::parse(&bytes)
}

/// As [`ask`], without reading.
#[track_caller]
pub(crate) fn send(address: SocketAddr, request: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
    let (host, length) = (address.to_string(), body.len().to_string());
    let mut all = vec![("Connection", "close"), ("Content-Length", length.as_str())];
    if headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        all.push(("Host", host.as_str()));
    }
    all.extend_from_slice(headers);
    let lines: Vec<String> = all
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!("{request} HTTP/1.1\r\n{}\r\n", lines.concat());
    send_raw(address, &[head.as_bytes(), body].concat())
}

/// Sends these very bytes, which need be no good request.
#[track_caller]
pub(crate) fn send_raw(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}
