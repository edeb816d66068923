//! Pages of a trail, which join up without gap or repeat while events are added.
//!
//! A cursor names the last event that was shown by its place in the trail's order, not by a number: what is added before it
//! or after it moves nothing.
//!
//! In scope: order, cursors, pages. Out of scope: which events are asked for (`filter`). Trust: a cursor comes back from a
//! stranger. It is no secret and no proof; it can at worst name another place in the same customer's own trail.

use data_encoding::BASE64URL_NOPAD;
use sharetrail_proof::hash::Hash;

use super::filter::TrailFilter;
use super::given::{Given, fault};
use super::problem::{Problem, ProblemKind};
use crate::trail::{Trail, TrailEvent};

/// Events of a page where nobody says how many.
const LIMIT: u64 = 50;
/// Events of a page at most.
pub(crate) const LIMIT_MAX: u64 = 200;
/// The first byte of a cursor.
const CURSOR_VERSION: u8 = 1;
const PLACE_BYTES: usize = 24;
const DIGEST_BYTES: usize = 16;

/// Which events come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// The newest.
    #[default]
    Newest,
    /// The oldest.
    Oldest,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        [Self::Newest, Self::Oldest]
            .into_iter()
            .find(|order| order.name() == text)
            .ok_or_else(|| "it is neither newest nor oldest".into())
    }
}

/// Which page of which events.
#[derive(Clone, Debug)]
pub(crate) struct TrailQuestion {
    /// Which events.
    pub(crate) filter: TrailFilter,
    /// Which of them first.
    pub(crate) order: Order,
    /// How many.
    pub(crate) limit: usize,
    /// Where the page before ended; none for the first one.
    pub(crate) cursor: Option<String>,
}

impl TrailQuestion {
    /// Takes the parameters out of a query.
    pub(crate) fn take(given: &mut Given) -> Self {
        Self {
            filter: TrailFilter::take(given),
            order: given.read("order", Order::parse).unwrap_or_default(),
            limit: limit(given),
            cursor: given.take("cursor"),
        }
    }
}

/// How many things a page is to have.
pub(crate) fn limit(given: &mut Given) -> usize {
    let limit = given.number("limit", 1, LIMIT_MAX).unwrap_or(LIMIT);
    usize::try_from(limit).expect("a page's limit is small")
}

/// A page of a trail.
#[derive(Debug)]
pub(crate) struct TrailPage<'a> {
    /// In the order that was asked for.
    pub(crate) events: Vec<&'a TrailEvent>,
    /// The cursor of the page that follows, where one does.
    pub(crate) next: Option<String>,
}

/// The page that is asked for.
pub(crate) fn page<'a>(trail: &'a Trail, question: &TrailQuestion) -> Result<TrailPage<'a>, Problem> {
    let digest = digest(trail, question);
    let cursor = question.cursor.as_deref();
    let after = cursor.map(|cursor| read_cursor(cursor, digest)).transpose()?;
    let mut events = match question.order {
        Order::Newest => {
            let end = after.map_or(trail.events.len(), |after| {
                first_from(trail, |place| place < after)
            });
            let rest = trail.events[..end].iter().rev();
            fitting(rest, question)
        }
        Order::Oldest => {
            let start = after.map_or(0, |after| first_from(trail, |place| place <= after));
            fitting(trail.events[start..].iter(), question)
        }
    };
    let has_more = events.len() > question.limit;
    events.truncate(question.limit);
    let last = events.last().filter(|_| has_more);
    let next = last.map(|last| write_cursor(Place::of(last), digest));
    Ok(TrailPage { events, next })
}

/// One more than the page has, if there are so many.
fn fitting<'a>(
    events: impl Iterator<Item = &'a TrailEvent>,
    question: &TrailQuestion,
) -> Vec<&'a TrailEvent> {
    events
        .filter(|event| question.filter.matches(event))
        .take(question.limit + 1)
        .collect()
}

/// The first event that is not before; a trail's events are in the order of their places.
fn first_from(trail: &Trail, is_before: impl Fn(Place) -> bool) -> usize {
    trail.events.partition_point(|event| is_before(Place::of(event)))
}

/// An event's place in the order of a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    seconds: i64,
    nanos: u32,
    generation: u32,
    index: u64,
}

impl Place {
    fn of(event: &TrailEvent) -> Self {
        Self {
            seconds: event.time.seconds(),
            nanos: event.time.nanos(),
            generation: event.generation,
            index: event.index.0,
        }
    }

    fn to_bytes(self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..8].copy_from_slice(&self.seconds.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.nanos.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.generation.to_be_bytes());
        bytes[16..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; PLACE_BYTES]) -> Self {
        let [seconds, low, high] = [&bytes[..8], &bytes[8..16], &bytes[16..]].map(|part| {
            let mut eight = [0; 8];
            eight.copy_from_slice(part);
            eight
        });
        let four = |from: usize| u32::from_be_bytes([low[from], low[from + 1], low[from + 2], low[from + 3]]);
        Self {
            seconds: i64::from_be_bytes(seconds),
            nanos: four(0),
            generation: four(4),
            index: u64::from_be_bytes(high),
        }
    }
}

type Digest = [u8; DIGEST_BYTES];

/// What a cursor is bound to: whose trail, which filter, which order. The customer stands in it by their label, which says
/// nothing to whoever finds a cursor in a log.
fn digest(trail: &Trail, question: &TrailQuestion) -> Digest {
    let label = trail
        .generations
        .first()
        .map(|first| first.label.0)
        .unwrap_or_default();
    let hash = Hash::of(&[
        b"sharetrail cursor v1\n",
        &label,
        question.order.name().as_bytes(),
        b"?",
        question.filter.query().as_bytes(),
    ]);
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&hash.0[..DIGEST_BYTES]);
    digest
}

fn write_cursor(place: Place, digest: Digest) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(&place.to_bytes());
    bytes.extend_from_slice(&digest);
    BASE64URL_NOPAD.encode(&bytes)
}

fn read_cursor(text: &str, expected: Digest) -> Result<Place, Problem> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    let place = bytes.as_deref().and_then(|bytes| {
        let (place, digest) = bytes.strip_prefix(&[CURSOR_VERSION])?.split_first_chunk()?;
        (digest == expected).then(|| Place::from_bytes(place))
    });
    place.ok_or_else(|| {
        let what = "the cursor does not belong to this question: begin with the first page";
        let reason = "it was not given out for this customer, this filter and this order";
        Problem::new(ProblemKind::BadRequest, what).with_errors(vec![fault("cursor", reason)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        seconds: -1,
        nanos: 2,
        generation: 3,
        index: u64::MAX,
    };

    /// A trail of events at these seconds of a minute, in its order.
    fn trail(seconds: &[u32]) -> Trail {
        let mut events: Vec<TrailEvent> = (0..)
            .zip(seconds)
            .map(|(index, second)| {
                let json = format!(
                    r#"{{"specversion":"1.0","id":"{index}","source":"https://shop.example/x","subject":"customer-42",
                    "type":"org.sharetrail.consent.given.v1","time":"2026-01-31T12:00:{second:02}Z",
                    "data":{{"purposes":["dpv:Marketing"]}}}}"#
                );
                TrailEvent::told(&json, index)
            })
            .collect();
        events.sort_by_key(|event| (event.time, event.generation, event.index));
        Trail {
            customer: "customer-42".into(),
            generations: Vec::new(),
            events,
            unopened: Vec::new(),
            checkpoints: Vec::new(),
        }
    }

    fn question(query: &str, cursor: Option<String>) -> TrailQuestion {
        let mut given = Given::of(query);
        let question = TrailQuestion::take(&mut given);
        assert!(given.finish().is_ok());
        TrailQuestion { cursor, ..question }
    }

    /// Walks through all pages; before each, the trail becomes the next of `trails`, and stays the last.
    fn walk(trails: &[Trail], query: &str) -> Vec<u64> {
        let (mut found, mut cursor, mut trails) = (Vec::new(), None, trails.iter());
        let mut trail = trails.next().unwrap();
        loop {
            let page = page(trail, &question(query, cursor)).unwrap();
            assert!(page.events.len() == 2 || page.next.is_none());
            found.extend(page.events.iter().map(|event| event.index.0));
            cursor = page.next;
            if cursor.is_none() {
                return found;
            }
            trail = trails.next().unwrap_or(trail);
        }
    }

    /// The fault: whoever reads on meets an event twice, or misses one, because others were recorded meanwhile.
    #[test]
    fn pages_join_up_while_events_are_added() {
        let mut seconds = vec![5, 5, 5, 9, 7, 7, 1];
        let mut trails = vec![trail(&seconds)];
        // Later, earlier, and at the very time of what was shown.
        for more in [30, 0, 7, 5, 9] {
            seconds.push(more);
            trails.push(trail(&seconds));
        }
        assert_eq!(walk(&trails[..1], "limit=2"), [3, 5, 4, 2, 1, 0, 6]);
        assert_eq!(walk(&trails[..1], "limit=2&order=oldest"), [6, 0, 1, 2, 4, 5, 3]);
        for query in ["limit=2", "limit=2&order=oldest"] {
            let found = walk(&trails, query);
            let mut distinct = found.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), found.len(), "{query}: {found:?}");
            assert!((0..7).all(|index| found.contains(&index)), "{query}: {found:?}");
        }
    }

    #[test]
    fn a_page_that_ends_with_the_last_event_is_the_last() {
        let trail = trail(&[1, 2, 3, 4]);
        let first = page(&trail, &question("limit=4", None)).unwrap();
        assert_eq!((first.events.len(), first.next), (4, None));
        let none = page(&trail, &question("kind=data.shared", None)).unwrap();
        assert_eq!((none.events.len(), none.next), (0, None));
        let first = page(&trail, &question("limit=2", None)).unwrap();
        let other = question("limit=2&kind=consent.given", first.next);
        assert_eq!(
            page(&trail, &other).map(drop).unwrap_err().kind(),
            ProblemKind::BadRequest
        );
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        assert_eq!(Place::from_bytes(&PLACE.to_bytes()), PLACE);
        let cursor = write_cursor(PLACE, [7; DIGEST_BYTES]);
        assert_eq!(
            read_cursor(&cursor, [7; DIGEST_BYTES]).map_err(|_| "refused"),
            Ok(PLACE)
        );
    }

    /// The fault: a cursor goes on in another list than the one it was given out for.
    #[test]
    fn a_cursor_of_another_question_is_refused() {
        let cursor = write_cursor(PLACE, [7; DIGEST_BYTES]);
        assert!(read_cursor(&cursor, [8; DIGEST_BYTES]).is_err());
        for text in [
            "",
            "AA",
            "!",
            &cursor[1..],
            &format!("{cursor}A"),
            &"A".repeat(cursor.len()),
        ] {
            assert!(read_cursor(text, [7; DIGEST_BYTES]).is_err(), "{text}");
        }
    }

    /// The fault: events of one second are shown in another order than the one that cursors compare by.
    #[test]
    fn places_have_the_order_of_a_trail() {
        let later = [
            Place {
                seconds: 0,
                nanos: 0,
                generation: 0,
                index: 0,
            },
            Place {
                nanos: 3,
                generation: 0,
                index: 0,
                ..PLACE
            },
            Place {
                generation: 4,
                index: 0,
                ..PLACE
            },
        ];
        for place in later {
            assert!(place > PLACE, "{place:?}");
        }
    }
}
