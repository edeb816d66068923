//! `Idempotency-Key`: a request that is sent again gets the answer that it got before.
//!
//! In scope: keys by producer, what was answered to them, for a day and as far as memory is set aside. Out of scope:
//! that an event is recorded once, which its own `source` and `id` see to, after a restart too. Trust: a key is a
//! stranger's text; keys of different producers never meet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sharetrail_proof::name::Name;

use crate::http::problem::{Problem, ProblemKind};

/// The header with the key.
const KEY_HEADER: &str = "idempotency-key";
/// The header of an answer that was given before.
const REPLAYED_HEADER: &str = "idempotency-replayed";
/// Characters of a key.
const KEY_CHARACTERS: usize = 255;
/// How long an answer is kept.
const KEPT: Duration = Duration::from_hours(24);
/// The most bytes of all answers that are kept; the oldest leave first.
const KEPT_BYTES: usize = 64 << 20;
/// What an answer takes beside its body.
const ANSWER_BYTES: usize = 512;

type Hash = [u8; 32];

/// An answer that can be given again.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// What was asked for, as JSON.
    pub(super) fn json(status: StatusCode, said: &impl Serialize) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self {
            status,
            headers,
            body: json(said),
        }
    }

    /// A problem; `said` is what it says, which may be more than a problem has.
    pub(super) fn problem(problem: Problem, said: &impl Serialize) -> Self {
        let body = json(said);
        let (parts, _) = problem.into_response().into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// The same, told to be a repeat.
    fn replayed(mut self) -> Self {
        let name = HeaderName::from_static(REPLAYED_HEADER);
        self.headers.insert(name, HeaderValue::from_static("true"));
        self
    }
}

fn json(said: &impl Serialize) -> Bytes {
    let text = serde_json::to_vec(said).expect("texts, numbers and lists always serialise");
    Bytes::from(text)
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// A producer's idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// The key of a request, if it has one: visible characters, in quotes or not.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let bad = |text: &str| Err(Problem::new(ProblemKind::BadRequest, text));
        let mut values = headers.get_all(KEY_HEADER).iter();
        let (value, more) = (values.next(), values.next());
        let Some(value) = value else { return Ok(None) };
        if more.is_some() {
            return bad("Idempotency-Key is given more than once");
        }
        let text = value.to_str().unwrap_or_default();
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let key = bare.unwrap_or(text);
        let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if !(1..=KEY_CHARACTERS).contains(&key.len()) || !key.bytes().all(fits) {
            return bad("Idempotency-Key must be 1 to 255 visible ASCII characters without \" and \\");
        }
        Ok(Some(Self(key.to_owned())))
    }
}

/// What tells one request from another: its form, what it asks for, its body.
pub(super) fn fingerprint(marks: [u8; 2], body: &[u8]) -> Hash {
    Sha256::new()
        .chain_update(marks)
        .chain_update(body)
        .finalize()
        .into()
}

/// What was answered to which key.
#[derive(Clone, Default)]
pub(crate) struct Idempotency(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers {
    slots: HashMap<Hash, Slot>,
    /// The keys of answers that are kept, oldest first.
    order: VecDeque<(Instant, Hash)>,
    bytes: usize,
}

/// A request, and its answer once there is one.
struct Slot {
    request: Hash,
    answer: Option<Answer>,
}

/// What to do with a request.
pub(super) enum Begin {
    /// Nobody has sent it before.
    Fresh(Turn),
    /// It was answered before.
    Replay(Answer),
}

impl Idempotency {
    /// Begins a request.
    pub(super) fn begin(&self, producer: &Name, key: &Key, request: Hash) -> Result<Begin, Problem> {
        self.begin_at(producer, key, request, Instant::now())
    }

    fn begin_at(&self, producer: &Name, key: &Key, request: Hash, now: Instant) -> Result<Begin, Problem> {
        // A name holds no line feed, so that no key of one producer is that of another.
        let hash = Sha256::new()
            .chain_update(producer.as_str())
            .chain_update(b"\n")
            .chain_update(&key.0);
        let key: Hash = hash.finalize().into();
        let mut answers = lock(&self.0);
        answers.forget(now);
        let refused = |kind, text: &str| Err(Problem::new(kind, text));
        match answers.slots.get(&key) {
            Some(slot) if slot.request != request => refused(
                ProblemKind::IdempotencyMismatch,
                "this Idempotency-Key came with another request before: another body, media type or `wait`",
            ),
            Some(Slot { answer: None, .. }) => refused(
                ProblemKind::IdempotencyBusy,
                "the request with this Idempotency-Key is at work; ask again in a moment",
            ),
            Some(Slot {
                answer: Some(answer), ..
            }) => Ok(Begin::Replay(answer.clone().replayed())),
            None => {
                let slot = Slot {
                    request,
                    answer: None,
                };
                answers.slots.insert(key, slot);
                Ok(Begin::Fresh(Turn {
                    answers: Arc::clone(&self.0),
                    key,
                    is_done: false,
                }))
            }
        }
    }
}

impl Answers {
    /// Lets go of answers that are too old, or too many.
    fn forget(&mut self, now: Instant) {
        while let Some((kept, key)) = self.order.front().copied() {
            let is_old = now.saturating_duration_since(kept) >= KEPT;
            if !is_old && self.bytes <= KEPT_BYTES {
                return;
            }
            self.order.pop_front();
            let slot = self.slots.remove(&key);
            self.bytes -= slot
                .and_then(|slot| slot.answer)
                .map_or(0, |answer| weight(&answer));
        }
    }
}

fn weight(answer: &Answer) -> usize {
    answer.body.len() + ANSWER_BYTES
}

fn lock(answers: &Mutex<Answers>) -> MutexGuard<'_, Answers> {
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request at work. If it is dropped without an answer, the key is free again.
pub(super) struct Turn {
    answers: Arc<Mutex<Answers>>,
    key: Hash,
    is_done: bool,
}

impl Turn {
    /// Keeps the answer, unless this host was at fault or not ready: then the request may be sent again.
    pub(super) fn finish(self, answer: &Answer) {
        self.finish_at(answer, Instant::now());
    }

    fn finish_at(mut self, answer: &Answer, now: Instant) {
        if answer.status.is_server_error() {
            return;
        }
        self.is_done = true;
        let mut answers = lock(&self.answers);
        let Some(slot) = answers.slots.get_mut(&self.key) else {
            return;
        };
        slot.answer = Some(answer.clone());
        answers.bytes += weight(answer);
        answers.order.push_back((now, self.key));
        answers.forget(now);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_done {
            lock(&self.answers).slots.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<Option<Key>, ProblemKind> {
        let mut headers = HeaderMap::new();
        headers.insert(KEY_HEADER, HeaderValue::from_str(text).unwrap());
        Key::of(&headers).map_err(|problem| problem.kind())
    }

    fn answer(status: StatusCode, bytes: usize) -> Answer {
        Answer::json(status, &"x".repeat(bytes))
    }

    struct Desk {
        kept: Idempotency,
        shop: Name,
    }

    impl Desk {
        fn new() -> Self {
            Self {
                kept: Idempotency::default(),
                shop: Name::new("shop.example").unwrap(),
            }
        }

        fn begin(&self, key: &str, request: u8, now: Instant) -> Result<Begin, ProblemKind> {
            let begun = self
                .kept
                .begin_at(&self.shop, &Key(key.into()), [request; 32], now);
            begun.map_err(|problem| problem.kind())
        }

        fn fresh(&self, key: &str, request: u8, now: Instant) -> Turn {
            match self.begin(key, request, now) {
                Ok(Begin::Fresh(turn)) => turn,
                Ok(Begin::Replay(_)) => panic!("{key} is known"),
                Err(kind) => panic!("{kind:?}"),
            }
        }

        fn is_known(&self, key: &str, request: u8, now: Instant) -> bool {
            matches!(self.begin(key, request, now), Ok(Begin::Replay(_)))
        }
    }

    #[test]
    fn keys_are_the_same_with_and_without_quotes() {
        assert_eq!(key("\"8e03\""), Ok(Some(Key("8e03".into()))));
        assert_eq!(key("8e03"), Ok(Some(Key("8e03".into()))));
        let longest = "x".repeat(KEY_CHARACTERS);
        assert!(key(&format!("\"{longest}\"")).is_ok());
        for bad in [
            "",
            "\"\"",
            "\"",
            "a b",
            "a\"b",
            "a\\b",
            "\"a",
            &format!("{longest}x"),
        ] {
            assert_eq!(key(bad), Err(ProblemKind::BadRequest), "{bad:?}");
        }
        assert_eq!(
            Key::of(&HeaderMap::new()).map_err(|problem| problem.kind()),
            Ok(None)
        );
    }

    #[test]
    fn a_repeat_gets_the_first_answer_and_says_so() {
        let (desk, now) = (Desk::new(), Instant::now());
        desk.fresh("a", 1, now)
            .finish_at(&answer(StatusCode::ACCEPTED, 3), now);
        let Ok(Begin::Replay(again)) = desk.begin("a", 1, now) else {
            panic!("not kept")
        };
        assert_eq!(
            (again.status, &again.body[..]),
            (StatusCode::ACCEPTED, &b"\"xxx\""[..])
        );
        assert_eq!(again.headers[REPLAYED_HEADER], "true");
    }

    /// The fault: a key that is used for another request makes that request disappear.
    #[test]
    fn another_request_under_the_same_key_is_refused() {
        let (desk, now) = (Desk::new(), Instant::now());
        let turn = desk.fresh("a", 1, now);
        assert_eq!(desk.begin("a", 1, now).err(), Some(ProblemKind::IdempotencyBusy));
        assert_eq!(
            desk.begin("a", 2, now).err(),
            Some(ProblemKind::IdempotencyMismatch)
        );
        turn.finish_at(&answer(StatusCode::ACCEPTED, 1), now);
        assert_eq!(
            desk.begin("a", 2, now).err(),
            Some(ProblemKind::IdempotencyMismatch)
        );
        let other = Name::new("mail.example").unwrap();
        let begun = desk.kept.begin_at(&other, &Key("a".into()), [2; 32], now);
        assert!(matches!(begun, Ok(Begin::Fresh(_))));
    }

    /// The fault: a request that failed here can never be sent again, or one that panicked keeps its key for ever.
    #[test]
    fn a_request_that_was_not_answered_may_come_again() {
        let (desk, now) = (Desk::new(), Instant::now());
        desk.fresh("a", 1, now)
            .finish_at(&answer(StatusCode::SERVICE_UNAVAILABLE, 1), now);
        drop(desk.fresh("a", 2, now));
        desk.fresh("a", 3, now)
            .finish_at(&answer(StatusCode::CONFLICT, 1), now);
        assert!(desk.is_known("a", 3, now));
    }

    #[test]
    fn answers_are_kept_for_a_day() {
        let (desk, now) = (Desk::new(), Instant::now());
        desk.fresh("a", 1, now).finish_at(&answer(StatusCode::OK, 1), now);
        let last = KEPT.saturating_sub(Duration::from_secs(1));
        assert!(desk.is_known("a", 1, now + last));
        drop(desk.fresh("a", 2, now + KEPT));
        assert_eq!(lock(&desk.kept.0).bytes, 0);
    }

    /// The fault: memory grows with every key.
    #[test]
    fn the_oldest_answers_leave_when_there_are_too_many() {
        let (desk, now) = (Desk::new(), Instant::now());
        let big = answer(StatusCode::OK, KEPT_BYTES / 4);
        for name in ["a", "b", "c", "d", "e"] {
            desk.fresh(name, 1, now).finish_at(&big, now);
        }
        assert!(lock(&desk.kept.0).bytes <= KEPT_BYTES);
        assert!(!desk.is_known("a", 1, now) && desk.is_known("e", 1, now));
    }
}
