//! Server-sent events: what is told, going on, ending.
//!
//! In scope: streams over real sockets. Out of scope: how often they are looked after.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use jsonwebtoken::get_current_timestamp;
use serde_json::{Value, json};
use sharetrail_consumers::http::Recorded;
use ureq::{Agent, Body};

use crate::me::world::{CUSTOMER, OTHER, WAIT, World, disclosures, until};
use crate::support::{at, consent, shared};

/// Asks for what is new, with a client that undoes the chunks in which a stream comes.
fn listen(world: &World, token: &str, last: Option<&str>) -> ureq::http::Response<Body> {
    let config = Agent::config_builder().http_status_as_error(false).build();
    let place = format!("http://{}/v1/me/stream", world.server.address());
    let request = config.new_agent().get(place);
    let mut request = request.header("authorization", format!("Bearer {token}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.call().unwrap()
}

/// A stream of server-sent events, line by line.
struct Told(BufReader<Box<dyn Read>>);

impl Told {
    fn open(world: &World, token: &str, last: Option<&str>) -> Self {
        let answer = listen(world, token, last);
        assert_eq!(answer.status().as_u16(), 200);
        let reader: Box<dyn Read> = Box::new(answer.into_body().into_reader());
        let mut told = Self(BufReader::new(reader));
        assert_eq!(told.line().as_deref(), Some(": listening"));
        told
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }

    /// The next event: its id and its data.
    fn next(&mut self) -> Option<(String, Value)> {
        let (mut id, mut data, end) = (None, None, Instant::now() + WAIT);
        loop {
            let line = self.line()?;
            // There is a line every 15 seconds at least.
            assert!(Instant::now() < end, "no event has come");
            if let Some(found) = line.strip_prefix("id: ") {
                id = Some(found.to_owned());
            } else if let Some(found) = line.strip_prefix("data: ") {
                data = serde_json::from_str(found).ok();
            } else if line.is_empty()
                && let (Some(id), Some(data)) = (id.take(), data.take())
            {
                return Some((id, data));
            }
        }
    }
}

fn place(recorded: &Recorded) -> String {
    format!("{}-{}", recorded.shard, recorded.index)
}

/// The fault: what came while somebody was cut off is never told, or somebody else is told of it.
#[test]
fn what_is_new_is_told_and_goes_on_where_it_ended() {
    let world = World::new(disclosures(2));
    let token = world.tokens.customer(CUSTOMER);
    let mut told = Told::open(&world, &token, None);
    world.record(shared(OTHER, "not-yours").time(at(300)));
    let first = world.record(shared(CUSTOMER, "new-1").time(at(301)));
    let (id, data) = told.next().unwrap();
    let expected = json!({
        "shard": first.shard,
        "index": first.index,
        "kind": "data.shared",
        "time": at(301).to_string(),
    });
    assert_eq!((&id, &data), (&place(&first), &expected));
    drop(told);

    let missed = world.record(consent(CUSTOMER, "new-2").time(at(302)));
    let mut told = Told::open(&world, &token, Some(&id));
    let (id, data) = told.next().unwrap();
    assert_eq!((id, &data["kind"]), (place(&missed), &json!("consent.given")));
    let last = world.record(shared(CUSTOMER, "new-3").time(at(303)));
    assert_eq!(told.next().unwrap().0, place(&last));
    let bad = listen(&world, &token, Some("yesterday"));
    assert_eq!(bad.status().as_u16(), 400);
}

/// The fault: whoever once had a token listens for ever, or a server waits for listeners when it ends.
#[test]
fn a_stream_ends_with_its_token_and_with_the_server() {
    let world = World::new(disclosures(1));
    let short = world.tokens.until(CUSTOMER, get_current_timestamp() + 3);
    let begun = Instant::now();
    assert_eq!(Told::open(&world, &short, None).next(), None);
    assert!(begun.elapsed() < WAIT);
    let mut told = Told::open(&world, &world.tokens.customer(CUSTOMER), None);
    let World { server, beside, .. } = world;
    let begun = Instant::now();
    server.stop();
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert_eq!(told.next(), None);
    drop(beside);
}

/// The fault: one browser with many windows takes all the streams there are.
#[test]
fn a_customer_has_a_few_streams_at_once() {
    let world = World::new(disclosures(1));
    let token = world.tokens.customer(CUSTOMER);
    let mut open: Vec<Told> = (0..6).map(|_| Told::open(&world, &token, None)).collect();
    assert_eq!(listen(&world, &token, None).status().as_u16(), 429);
    Told::open(&world, &world.tokens.customer(OTHER), None);
    open.pop();
    until("a free place", || {
        let answer = listen(&world, &token, None);
        (answer.status().as_u16() == 200).then_some(())
    });
}
