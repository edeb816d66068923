//! Where the files of a ledger's logs come from: a folder, or a server that has the same paths.
//!
//! In scope: getting a file of a bounded size, trying again what may pass. Out of scope: what the files say. Trust: none:
//! whatever comes is held to signed checkpoints.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;

use super::error::{At, AuditError};

/// How often something is asked for that does not come.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const CONNECT_SECONDS_MAX: u64 = 10;
const ANSWER_SECONDS_MAX: u64 = 30;
const BODY_SECONDS_MAX: u64 = 120;
/// Files asked for at the same time of one server, over all shards.
const QUESTIONS: usize = 8;
const REDIRECTS_MAX: u32 = 3;

/// A place that holds `log/<shard>/…` and `map/<shard>/…`.
#[derive(Debug)]
pub struct Source(Kind);

#[derive(Debug)]
enum Kind {
    Folder(PathBuf),
    Web { base: String, agent: Agent },
}

impl Source {
    /// A folder, such as a ledger's.
    pub fn folder(path: &Path) -> Self {
        Self(Kind::Folder(path.to_owned()))
    }

    /// A server, by the URL below which the paths are. Nothing is asked yet.
    pub fn web(url: &str) -> Result<Self, AuditError> {
        let uri: Option<Uri> = url.parse().ok();
        let fits = |uri: &Uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.query().is_none()
                && uri.host().is_some_and(|host| !host.is_empty())
        };
        let uri = uri
            .filter(fits)
            .ok_or_else(|| AuditError::Address { url: url.to_owned() })?;
        Ok(Self(Kind::Web {
            base: url.trim_end_matches('/').to_owned(),
            agent: agent(uri.host().unwrap_or_default()),
        }))
    }

    /// A URL if it begins like one, otherwise a folder.
    pub fn parse(place: &str) -> Result<Self, AuditError> {
        if place.starts_with("http://") || place.starts_with("https://") {
            Self::web(place)
        } else {
            Ok(Self::folder(Path::new(place)))
        }
    }

    /// The folder, if it is one.
    pub fn as_folder(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Folder(path) => Some(path),
            Kind::Web { .. } => None,
        }
    }

    /// How many files are worth reading at once; `cores`: what there is to compute with.
    pub(crate) fn readers(&self, cores: usize) -> usize {
        match &self.0 {
            Kind::Folder(_) => cores,
            Kind::Web { .. } => cores.max(QUESTIONS),
        }
    }

    /// Appends a file to `bytes`, if it is there, at most one byte more than `bytes_max`: who gets that many knows that
    /// it is too long.
    pub(crate) fn append(
        &self,
        path: &str,
        bytes_max: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<bool, AuditError> {
        match &self.0 {
            Kind::Folder(folder) => append_file(&folder.join(path), bytes_max, bytes),
            Kind::Web { base, agent } => match get(agent, &format!("{base}/{path}"), bytes_max)? {
                Some(body) => {
                    bytes.extend_from_slice(&body);
                    Ok(true)
                }
                None => Ok(false),
            },
        }
    }

    /// A file, if it is there; bounded as by [`Source::append`].
    pub(crate) fn get(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, AuditError> {
        let mut bytes = Vec::new();
        let is_there = self.append(path, bytes_max, &mut bytes)?;
        Ok(is_there.then_some(bytes))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Folder(path) => path.display().fmt(f),
            Kind::Web { base, .. } => f.write_str(base),
        }
    }
}

fn append_file(path: &Path, bytes_max: usize, bytes: &mut Vec<u8>) -> Result<bool, AuditError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        Err(error) => return Err(error).at("read", path),
    };
    let length = file.metadata().at("read", path)?.len();
    let limit = bytes_max as u64 + 1;
    // Room for all of it, so that it comes in one piece.
    bytes.reserve(usize::try_from(length.min(limit)).unwrap_or(bytes_max) + 1);
    file.take(limit).read_to_end(bytes).at("read", path)?;
    Ok(true)
}

/// A proxy of the environment may lead to the world, but not to this machine. Neither it nor a redirect can do harm: what
/// comes is checked.
fn agent(host: &str) -> Agent {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "::1");
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(REDIRECTS_MAX)
        .max_idle_connections_per_host(QUESTIONS)
        // Servers close connections that are silent for longer.
        .max_idle_age(Duration::from_secs(5))
        .timeout_resolve(seconds(CONNECT_SECONDS_MAX))
        .timeout_connect(seconds(CONNECT_SECONDS_MAX))
        .timeout_recv_response(seconds(ANSWER_SECONDS_MAX))
        .timeout_recv_body(seconds(BODY_SECONDS_MAX));
    let config = if is_here { config.proxy(None) } else { config };
    Agent::new_with_config(config.build())
}

/// What one request came to.
enum Reply {
    Body(Vec<u8>),
    NotThere,
    /// It may go better next time.
    Later(String),
    Never(String),
}

fn get(agent: &Agent, url: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, AuditError> {
    let failed = |what| AuditError::Web {
        url: url.to_owned(),
        what,
    };
    let mut pause = FIRST_PAUSE;
    for number in 1..=TRIES {
        match ask(agent, url, bytes_max) {
            Reply::Body(bytes) => return Ok(Some(bytes)),
            Reply::NotThere => return Ok(None),
            Reply::Later(_) if number < TRIES => {}
            Reply::Later(what) | Reply::Never(what) => return Err(failed(what)),
        }
        thread::sleep(pause);
        pause *= 2;
    }
    Err(failed("it does not answer".into()))
}

fn ask(agent: &Agent, url: &str, bytes_max: usize) -> Reply {
    let mut response = match agent.get(url).call() {
        Ok(response) => response,
        Err(error) => return of_error(&error),
    };
    match response.status().as_u16() {
        200 => {}
        404 | 410 => return Reply::NotThere,
        status @ (408 | 429 | 500..) => return Reply::Later(format!("it answers with status {status}")),
        status => return Reply::Never(format!("it answers with status {status}")),
    }
    // One byte too many is to be seen, as with a folder: it is a fault of the ledger that it serves such a file.
    let (mut bytes, limit) = (Vec::new(), bytes_max as u64 + 1);
    let read = response
        .body_mut()
        .as_reader()
        .take(limit)
        .read_to_end(&mut bytes);
    match read {
        Ok(_) => Reply::Body(bytes),
        Err(error) => of_error(&error.into()),
    }
}

fn of_error(error: &ureq::Error) -> Reply {
    use ureq::Error;
    match error {
        Error::Io(_) | Error::Timeout(_) | Error::ConnectionFailed | Error::Protocol(_) => {
            Reply::Later(error.to_string())
        }
        _ => Reply::Never(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_host() {
        for good in [
            "http://127.0.0.1:80",
            "https://audit.example/ledgers/shop/",
            "http://[::1]:8080",
        ] {
            assert!(Source::web(good).is_ok(), "{good}");
        }
        for bad in ["", "host", "/log", "ftp://host", "http://", "http://host/?a=b"] {
            assert!(
                matches!(Source::web(bad), Err(AuditError::Address { .. })),
                "{bad}"
            );
        }
    }

    /// The fault: an operator's server keeps an audit from coming to an end with one file that is too long.
    #[test]
    fn an_answer_that_is_too_long_shows_that_it_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let source = Source::web(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 1024];
            assert!(stream.read(&mut question).unwrap() > 0);
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n";
            stream.write_all(format!("{head}0123456789").as_bytes()).unwrap();
        });
        assert_eq!(source.get("file", 4).unwrap(), Some(b"01234".to_vec()));
        server.join().unwrap();
    }

    /// The fault: a file that never ends fills the memory.
    #[test]
    fn a_file_comes_whole_or_shows_that_it_is_too_long() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), [7; 10]).unwrap();
        let source = Source::folder(folder.path());
        assert_eq!(source.get("file", 10).unwrap(), Some(vec![7; 10]));
        assert_eq!(source.get("file", 4).unwrap(), Some(vec![7; 5]));
        assert_eq!(source.get("none", 4).unwrap(), None);
        assert_eq!(source.get("file/within", 4).unwrap(), None);
    }
}
