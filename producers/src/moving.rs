//! Events that are on their way: two of one name must not both be recorded.
//!
//! In scope: from the first look at an event until it is sealed and every chunk that may have looked for it before has
//! been cut. Out of scope: what is on record ([`crate::index`]). Trust: none needed; this is memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use sharetrail_proof::hash::LeafIndex;

use crate::index::{Recorded, Row};
use crate::outbox::{ContentMac, EventKey, EventName};
use crate::tickets::Ticket;

/// An event on its way, or sealed so lately that a chunk prepared before may not have seen it in the index.
struct OnItsWay {
    mac: ContentMac,
    sealed: Option<Recorded>,
    waiting: Vec<Ticket>,
}

impl OnItsWay {
    fn new(mac: ContentMac) -> Self {
        Self {
            mac,
            sealed: None,
            waiting: Vec::new(),
        }
    }
}

/// Events that are on their way, by key.
#[derive(Default)]
pub(crate) struct Moving {
    state: Mutex<MovingState>,
}

#[derive(Default)]
struct MovingState {
    events: HashMap<EventKey, OnItsWay>,
    /// Sealed and in the index: may go once all chunks handed out before were cut.
    done: VecDeque<(u64, Vec<EventKey>)>,
    handed_out: u64,
}

/// What is known of an event that was handed in.
pub(crate) enum Seen {
    /// Nothing: it is new, and from now on it is on its way.
    New,
    /// The same content is on its way; the ticket is kept.
    Waiting,
    /// The same content is on record.
    Recorded(Recorded),
    /// Another content has the same source and id.
    Conflict(Option<Recorded>),
}

impl Moving {
    fn state(&self) -> std::sync::MutexGuard<'_, MovingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk goes to the workers.
    pub(crate) fn hand_out(&self) {
        self.state().handed_out += 1;
    }

    /// The chunk with this number (from 1) was cut.
    pub(crate) fn cut(&self, chunk: u64) {
        let mut state = self.state();
        while state.done.front().is_some_and(|(after, _)| *after <= chunk) {
            let (_, ids) = state.done.pop_front().expect("looked at above");
            for id in ids {
                state.events.remove(&id);
            }
        }
    }

    /// Notes an event, or says what is known of it.
    pub(crate) fn see(&self, name: EventName, ticket: &Ticket) -> Seen {
        let mut state = self.state();
        let Some(known) = state.events.get_mut(&name.key) else {
            state.events.insert(name.key, OnItsWay::new(name.mac));
            return Seen::New;
        };
        match (known.mac == name.mac, known.sealed) {
            (false, sealed) => Seen::Conflict(sealed),
            (true, Some(recorded)) => Seen::Recorded(recorded),
            (true, None) => {
                known.waiting.push(ticket.clone());
                Seen::Waiting
            }
        }
    }

    /// Notes events that were on their way when the outbox was last used.
    pub(crate) fn still_on_their_way(&self, names: &[EventName]) {
        let mut state = self.state();
        for name in names {
            state
                .events
                .entry(name.key)
                .or_insert_with(|| OnItsWay::new(name.mac));
        }
    }

    /// Events were sealed; gives the tickets that waited for them. Those that do not stand in the index stay here.
    pub(crate) fn sealed(&self, shard: u32, events: &[Row], indexed: bool) -> Vec<(Ticket, LeafIndex)> {
        let mut state = self.state();
        let mut tickets = Vec::new();
        for Row { name, index } in events {
            if let Some(event) = state.events.get_mut(&name.key) {
                event.sealed = Some(Recorded {
                    shard,
                    index: *index,
                    mac: Some(name.mac),
                });
                tickets.extend(event.waiting.drain(..).map(|ticket| (ticket, *index)));
            }
        }
        let after = state.handed_out;
        if indexed {
            state
                .done
                .push_back((after, events.iter().map(|row| row.name.key).collect()));
        }
        tickets
    }

    /// An event was refused; gives the tickets that waited for it.
    pub(crate) fn refused(&self, id: &EventKey) -> Vec<Ticket> {
        self.state()
            .events
            .remove(id)
            .map(|event| event.waiting)
            .unwrap_or_default()
    }
}
