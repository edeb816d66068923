//! What customers and officers do: choices, requests, decisions. Each becomes an event of the customer, on record before the
//! answer, and read by whoever asks next.
//!
//! In scope: making the events, having them recorded, carrying a granted erasure out. Out of scope: what a choice means
//! (`choices`), what a request is (`requests`), how it is asked for: the API and the pages call the same functions.
//! Trust: whoever calls has shown to be the customer, or an officer. The events are signed in the name of the producer that
//! the settings name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use sharetrail_proof::entry::Entry;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Label, Name};
use sharetrail_schemas::{Right, Timestamp};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::given::fault;
use super::hands::{HandsError, Recorded, Recording};
use super::problem::{Look, Problem, ProblemKind};
use super::reading::{once_covered, trail_of};
use super::site::{Site, blocking};
use crate::choices::{ChoiceChange, ChoiceError, Choices, Origin};
use crate::error::ConsumerError;
use crate::opening::customer_of;
use crate::requests::{CustomerRequest, RequestState, close_content, open_content, requests};
use crate::trail::{Trail, TrailEvent};

/// How long an event may take to be on record before whoever waits is told that it is on its way.
const SEAL_WAIT: Duration = Duration::from_secs(20);
/// Requests of one customer that wait for an answer at once.
const OPEN_MAX: usize = 20;
/// How often an erasure is tried while nothing can be recorded, and how long after one try comes the next.
const ERASE_TRIES: u32 = 20;
const ERASE_AGAIN: Duration = Duration::from_secs(15);
const ERASE_TICK: Duration = Duration::from_millis(500);
/// What programs are to do where it is not known whether a change is on record.
const LOOK_AT_CHOICES: &str =
    "look at your choices in a minute (GET /v1/me/choices), and choose again only if they are as they were";
const LOOK_AT_REQUESTS: &str =
    "look at your requests in a minute (GET /v1/me/requests), and ask again only if this one is not there";
const LOOK_AT_OPEN: &str = "look in a minute whether the request is still open (GET /v1/officer/requests), and decide it \
     again only if it is; an erasure that was granted is to be granted once more when it is not, as it begins then";
const NOT_ERASED: &str =
    "an erasure that was granted is not carried out; if it stays so, decide the request once more";

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    /// The request is closed, and the answer is on record.
    Closed,
    /// Besides, the customer is being erased, which takes up to some minutes.
    Erasing,
}

/// Records what a customer chose: what it gives is on record, and nothing if it was so already.
pub(crate) async fn change_choice(
    site: &Site,
    customer: &str,
    change: ChoiceChange,
) -> Result<Vec<Recorded>, Problem> {
    let turn = site.trails.changes.of(customer).await;
    let (site, customer) = (site.clone(), customer.to_owned());
    let work = async move {
        let trail = trail_of(&site, &customer).await?;
        let producer = site.settings.signing_producer(&site.ledger);
        let contents = made(&producer, |origin| {
            Choices::of(&trail).contents(&customer, &change, origin)
        })?;
        record(&site, producer, contents, Look::Choices).await
    };
    to_the_end(turn, work).await
}

/// Records that a customer asks for a right. One erasure is asked for at a time.
pub(crate) async fn open_request(
    site: &Site,
    customer: &str,
    right: Right,
    description: Option<String>,
) -> Result<Recorded, Problem> {
    let turn = site.trails.changes.of(customer).await;
    let (site, customer) = (site.clone(), customer.to_owned());
    let work = async move { open_now(&site, &customer, right, description.as_deref()).await };
    to_the_end(turn, work).await
}

async fn open_now(
    site: &Site,
    customer: &str,
    right: Right,
    description: Option<&str>,
) -> Result<Recorded, Problem> {
    let trail = trail_of(site, customer).await?;
    let mut open = requests(&trail);
    open.retain(|request| request.state.is_open());
    let is_asked_for = open.iter().any(|request| request.right == right) || site.trails.is_erasing(customer);
    if right == Right::Erasure && is_asked_for {
        return Err(conflict(
            "you have asked for the erasure of your data, and that is being worked on",
        ));
    }
    if open.len() >= OPEN_MAX {
        return Err(conflict(
            "you have many requests that wait for an answer; wait for one of them",
        ));
    }
    let producer = site.settings.signing_producer(&site.ledger);
    let content = made(&producer, |origin| {
        open_content(customer, right, description, origin)
    })?;
    let recorded = record(site, producer, vec![content], Look::Requests).await?;
    refresh(site, customer).await;
    let first = recorded.into_iter().next();
    first.ok_or_else(|| Problem::failed(&"an event was recorded and is nowhere"))
}

/// Decides the request that was opened by this leaf. A granted erasure is carried out after this has returned; if that
/// fails, the request can be decided once more.
pub(crate) async fn decide(
    site: &Site,
    shard: u32,
    index: LeafIndex,
    granted: bool,
    description: Option<String>,
) -> Result<Decided, Problem> {
    let customer = whose(site, shard, index).await?;
    let turn = site.trails.changes.of(&customer).await;
    let (site, place) = (site.clone(), (shard, index));
    let work = async move { decide_now(&site, &customer, place, granted, description.as_deref()).await };
    to_the_end(turn, work).await
}

async fn decide_now(
    site: &Site,
    customer: &str,
    place: (u32, LeafIndex),
    granted: bool,
    description: Option<&str>,
) -> Result<Decided, Problem> {
    let trail = trail_of(site, customer).await?;
    let is_it = |one: &CustomerRequest| (one.shard, one.index) == place;
    let request = requests(&trail)
        .into_iter()
        .find(is_it)
        .ok_or_else(nothing_there)?;
    let is_erasure = granted && request.right == Right::Erasure;
    if request.state.is_open() {
        if !granted && description.is_none() {
            let what = "a customer whose request is refused is told why (GDPR Article 12(4))";
            let fault = fault("description", "it is missing: say why the request is refused");
            return Err(Problem::new(ProblemKind::BadRequest, what).with_errors(vec![fault]));
        }
        close(site, customer, &request, granted, description).await?;
    } else if !(is_erasure && is_granted_erasure(&request)) {
        return Err(conflict("the request is decided already"));
    }
    if !is_erasure {
        refresh(site, customer).await;
        return Ok(Decided::Closed);
    }
    let (label, generation) = living(&trail, &request).ok_or_else(nothing_there)?;
    erase(site, customer, label, generation)?;
    Ok(Decided::Erasing)
}

/// Does what was begun for a customer to its end, though whoever asked may go away meanwhile: a request must not be
/// closed without the erasure that was granted, nor the next change be made before this one is read.
async fn to_the_end<T: Send + 'static>(
    turn: OwnedMutexGuard<()>,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let whole = async move {
        let done = work.await;
        drop(turn);
        done
    };
    let done = tokio::spawn(whole).await;
    done.map_err(|error| Problem::failed(&error))?
}

async fn close(
    site: &Site,
    customer: &str,
    request: &CustomerRequest,
    granted: bool,
    description: Option<&str>,
) -> Result<(), Problem> {
    let producer = site.settings.signing_producer(&site.ledger);
    let content = made(&producer, |origin| {
        close_content(customer, request, granted, description, origin)
    })?;
    let recorded = record(site, producer, vec![content], Look::OfficerRequests).await;
    recorded.map(drop)
}

/// The customer whose event stands at a leaf.
async fn whose(site: &Site, shard: u32, index: LeafIndex) -> Result<String, Problem> {
    if shard >= site.ledger.shards() {
        return Err(nothing_there());
    }
    let site = site.clone();
    blocking(move || {
        let reader = site.ledger.reader(shard)?;
        if index.0 >= reader.size().0 {
            return Err(nothing_there());
        }
        let leaf = reader.leaf(index)?;
        let Ok(Entry::Event(event)) = Entry::parse(&leaf.entry) else {
            return Err(nothing_there());
        };
        site.shelf.cover(shard, index)?;
        let projections = site.shelf.projections()?;
        match customer_of(&site.ledger, &projections, &site.vault, &event.label) {
            // Erased, or unreadable: nobody can tell what was asked for.
            Err(ConsumerError::Label { .. }) => Err(nothing_there()),
            found => found.map_err(Problem::from),
        }
    })
    .await
}

/// The generation of the customer in which something was asked for, unless it was erased since.
fn living(trail: &Trail, request: &CustomerRequest) -> Option<(Label, u32)> {
    let is_it = |event: &&TrailEvent| (event.shard, event.index) == (request.shard, request.index);
    let generation = trail.events.iter().find(is_it)?.generation;
    let found = trail
        .generations
        .iter()
        .find(|one| one.generation == generation)?;
    found.erased_at.is_none().then_some((found.label, generation))
}

/// Has a customer erased, on a thread that may take its time. Once at a time: whoever decides again meanwhile waits for
/// nothing.
fn erase(site: &Site, customer: &str, label: Label, generation: u32) -> Result<(), Problem> {
    let Some(erasing) = Erasing::begin(site, customer) else {
        return Ok(());
    };
    let work = move || carry_out(&erasing, &label, generation);
    let thread = std::thread::Builder::new().name("erasure".into()).spawn(work);
    thread.map(drop).map_err(|error| Problem::failed(&error))
}

fn carry_out(erasing: &Erasing, label: &Label, generation: u32) {
    let site = &erasing.site;
    for attempt in 1..=ERASE_TRIES {
        let Err(error) = site.hands.erase(label, generation) else {
            return;
        };
        tracing::error!(target: "http", %label, generation, %error, attempt, "{NOT_ERASED}");
        if !matches!(error, HandsError::Stopped(_)) || !rest(site) {
            return;
        }
    }
}

/// Waits before the next try; false if the server ends meanwhile.
fn rest(site: &Site) -> bool {
    let until = Instant::now() + ERASE_AGAIN;
    while Instant::now() < until && !site.streams.have_ended() {
        std::thread::sleep(ERASE_TICK);
    }
    !site.streams.have_ended()
}

/// A customer who is being erased.
struct Erasing {
    site: Site,
    customer: String,
}

impl Erasing {
    fn begin(site: &Site, customer: &str) -> Option<Self> {
        if !site.trails.begin_erasing(customer) {
            return None;
        }
        site.watch.mark_erasing(customer);
        Some(Self {
            site: site.clone(),
            customer: customer.to_owned(),
        })
    }
}

impl Drop for Erasing {
    /// However it ended, also in a panic.
    fn drop(&mut self) {
        self.site.trails.forget(&self.customer);
        self.site.authorizer.forget(&self.customer);
        self.site.trails.end_erasing(&self.customer);
        self.site.watch.end_erasing(&self.customer);
        // What an officer sees follows by itself, a second later.
        let _ = self.site.watch.refresh(&self.customer);
    }
}

/// Records events, and waits until they are on record and whoever asks reads them. `look`: where to look where that is
/// not known.
async fn record(
    site: &Site,
    producer: Name,
    contents: Vec<Vec<u8>>,
    look: Look,
) -> Result<Vec<Recorded>, Problem> {
    let begun = begin(site, &producer, contents.clone()).await?;
    // Where one of them was taken, a part of the change may be on record, whatever becomes of the others.
    let is_taken = begun.iter().any(|one| one.is_taken);
    let sealed = async {
        let mut recorded = Vec::new();
        for (one, content) in begun.into_iter().zip(contents) {
            // Waited for so that it counts though its seal takes longer than this waits.
            let _ = one.accepted.await;
            let sealed = match one.sealed.await {
                Err(HandsError::Rejected(_)) => again(site, &producer, content).await,
                other => other,
            };
            recorded.push(sealed.map_err(|error| lost_sight(error, is_taken, look))?);
        }
        Ok::<_, Problem>(recorded)
    };
    let recorded = within(SEAL_WAIT, sealed, look).await?;
    cover(site, &recorded).await;
    Ok(recorded)
}

/// What comes of an event that was handed in, if it comes in this time.
async fn within<T>(
    wait: Duration,
    sealed: impl Future<Output = Result<T, Problem>>,
    look: Look,
) -> Result<T, Problem> {
    let sealed = timeout(wait, sealed).await;
    sealed.unwrap_or_else(|_| Err(outcome_unknown(look)))
}

/// Why an event is not known to be on record. One that was taken may be, whatever stopped here meanwhile, and though it
/// was not accepted yet: what lies in an outbox goes on at the next start.
fn lost_sight(error: HandsError, is_taken: bool, look: Look) -> Problem {
    match error {
        HandsError::Stopped(reason) | HandsError::Failed(reason) if is_taken => {
            tracing::error!(target: "http", %reason, "it is not known whether a change is on record");
            outcome_unknown(look)
        }
        error => error.into(),
    }
}

fn outcome_unknown(look: Look) -> Problem {
    let advice = match look {
        Look::Choices => LOOK_AT_CHOICES,
        Look::Requests => LOOK_AT_REQUESTS,
        Look::OfficerRequests => LOOK_AT_OPEN,
    };
    let text =
        format!("it is on its way, and may be on record by now or later: do not repeat it, but {advice}");
    Problem::new(ProblemKind::OutcomeUnknown, text).with_look(Some(look))
}

/// A producer that knows a customer from before an erasure learns by a refusal that they have another label since.
async fn again(site: &Site, producer: &Name, content: Vec<u8>) -> Result<Recorded, HandsError> {
    let failed = |problem: Problem| HandsError::Failed(problem.detail().to_owned());
    let begun = begin(site, producer, vec![content]).await.map_err(failed)?;
    match begun.into_iter().next() {
        Some(one) => one.sealed.await,
        None => Err(HandsError::Failed(
            "one event was handed in, and none is on its way".to_owned(),
        )),
    }
}

async fn begin(site: &Site, producer: &Name, contents: Vec<Vec<u8>>) -> Result<Vec<Recording>, Problem> {
    let (hands, producer) = (Arc::clone(&site.hands), producer.clone());
    let hand_in = move || {
        let begun = contents
            .into_iter()
            .map(|content| hands.record(&producer, content));
        Ok(begun.collect())
    };
    blocking(hand_in).await
}

/// Has the projections read what was recorded. It is on record all the same where they cannot.
async fn cover(site: &Site, recorded: &[Recorded]) {
    let mut last: BTreeMap<u32, LeafIndex> = BTreeMap::new();
    for one in recorded {
        let index = last.entry(one.shard).or_insert(one.index);
        *index = (*index).max(one.index);
    }
    for (shard, index) in last {
        let covered = once_covered(|| {
            let site = site.clone();
            move || site.shelf.cover(shard, index)
        });
        if let Err(problem) = covered.await {
            let detail = problem.detail();
            tracing::warn!(target: "http", shard, detail, "what was recorded is not read in yet");
        }
    }
}

/// Has the officer's view read a customer's trail at once; otherwise it does a second later.
async fn refresh(site: &Site, customer: &str) {
    let (watch, customer) = (Arc::clone(&site.watch), customer.to_owned());
    let _ = blocking(move || Ok(watch.refresh(&customer)?)).await;
}

/// Once it is carried out, nobody can read that it was asked for.
fn is_granted_erasure(request: &CustomerRequest) -> bool {
    request.right == Right::Erasure && request.state == RequestState::Granted
}

/// What `make` makes of new events in the name of `producer`, now.
fn made<T>(
    producer: &Name,
    make: impl FnOnce(&mut Origin<'_>) -> Result<T, ChoiceError>,
) -> Result<T, Problem> {
    let mut ids = Ids::new()?;
    let mut id = || ids.next();
    let mut origin = Origin {
        producer,
        time: now(),
        id: &mut id,
    };
    make(&mut origin).map_err(|error| refused(&error))
}

fn nothing_there() -> Problem {
    Problem::new(ProblemKind::NotFound, "no request that can be decided is there")
}

fn conflict(what: &str) -> Problem {
    Problem::new(ProblemKind::Conflict, what)
}

fn refused(error: &ChoiceError) -> Problem {
    let text = error.to_string();
    match error {
        ChoiceError::Content(_) => Problem::new(ProblemKind::InvalidEvent, text),
        ChoiceError::UnknownRecipient { .. } => {
            let fault = fault("recipient", "nobody of this id is in the trail");
            Problem::new(ProblemKind::BadRequest, text).with_errors(vec![fault])
        }
        ChoiceError::NotSteerable { .. } | ChoiceError::Closed { .. } => conflict(&text),
    }
}

/// Ids for the events of one change: a random one, and a number for each.
struct Ids {
    base: String,
    count: u32,
}

impl Ids {
    fn new() -> Result<Self, Problem> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| Problem::failed(&error))?;
        let base = HEXLOWER.encode(&bytes);
        Ok(Self { base, count: 0 })
    }

    fn next(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.base, self.count)
    }
}

/// To the microsecond: what is shared within the second in which somebody said no came before or after it.
fn now() -> Timestamp {
    let now = jiff::Timestamp::now();
    let fine = format!("{now:.6}").parse();
    fine.unwrap_or_else(|_| Timestamp::from_unix(now.as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault: a customer whose request is on its way is told to try again later, and has made two.
    #[tokio::test]
    async fn what_is_on_its_way_is_not_to_be_repeated() {
        let never = std::future::pending::<Result<(), Problem>>();
        let late = within(Duration::from_millis(1), never, Look::Requests).await;
        let problem = late.unwrap_err();
        assert_eq!(problem.kind(), ProblemKind::OutcomeUnknown);
        assert!(
            problem.detail().contains("/v1/me/requests"),
            "{}",
            problem.detail()
        );
        let done = within(Duration::from_mins(1), async { Ok(7) }, Look::Requests).await;
        assert_eq!(done.ok(), Some(7));
        let refused = async { Err::<(), _>(conflict("no")) };
        let refused = within(Duration::from_mins(1), refused, Look::Requests).await;
        assert_eq!(refused.unwrap_err().kind(), ProblemKind::Conflict);
    }

    /// The fault: what was taken and lost sight of passes for not done, though it lies in an outbox; or what was never
    /// taken for perhaps done.
    #[test]
    fn what_was_taken_may_be_done() {
        let kind = |error, is_taken| lost_sight(error, is_taken, Look::Choices).kind();
        let stopped = || HandsError::Stopped("the host ends".into());
        let failed = || HandsError::Failed("the archive lacks it still".into());
        let conflict = || HandsError::Conflict("another content".into());
        assert_eq!(kind(stopped(), true), ProblemKind::OutcomeUnknown);
        assert_eq!(kind(failed(), true), ProblemKind::OutcomeUnknown);
        assert_eq!(kind(stopped(), false), ProblemKind::NotReady);
        assert_eq!(kind(failed(), false), ProblemKind::Failed);
        assert_eq!(kind(conflict(), true), ProblemKind::Conflict);
    }

    #[test]
    fn ids_of_one_change_differ() {
        let (mut ids, mut others) = (Ids::new().unwrap(), Ids::new().unwrap());
        let made = [ids.next(), ids.next(), others.next(), others.next()];
        let distinct: std::collections::BTreeSet<&String> = made.iter().collect();
        assert_eq!(distinct.len(), made.len());
    }

    /// The fault: what a customer did now stands in the future, or before 1970, where the clock's text does not read.
    #[test]
    fn now_is_told_to_the_microsecond() {
        let before = jiff::Timestamp::now().as_second();
        let told = now();
        let after = jiff::Timestamp::now().as_second();
        assert!((before..=after).contains(&told.seconds()));
        assert_eq!(told.nanos() % 1_000, 0);
    }
}
