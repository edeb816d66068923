//! What a verified dossier says about one recipient: that nothing was ever shared with it, or that something was.
//!
//! In scope: reading the contents of a [`VerifiedDossier`], and saying why they leave it open. Out of scope: the checks of
//! the dossier, wording for people.
//!
//! Trust: the dossier's checks. "Never" says what is on record, by the word of those who signed it: an event that was never
//! recorded, or that names another recipient than the true one, is not seen. So it is said only where every event in the
//! dossier can be read, also those that came after the customer maps, and each recipient is a party that the registry
//! knows: two names for one organisation are the operator's public lie then.

use sharetrail_proof::dossier::{VerifiedContent, VerifiedDossier, VerifiedEvent};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Name;
use sharetrail_schemas::Kind;

/// What a dossier says of one party. Events are told by shard and index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disclosure {
    /// No event on record says that the party received anything of the customer.
    Never {
        /// Unix seconds: of what was recorded later, nothing is said.
        up_to: u64,
        /// Events that name the party and disclose nothing to it: a refused consent, a disclosure that failed.
        mentions: Vec<(u32, LeafIndex)>,
    },
    /// These events name the party as one that received data, or has it.
    Shared {
        /// Where they are.
        events: Vec<(u32, LeafIndex)>,
    },
    /// No readable event says so, and that does not show that there is none.
    CannotSay {
        /// Why not, in the order of the dossier; each once.
        reasons: Vec<Reason>,
    },
}

/// Why a dossier leaves open whether something was shared with a party.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The dossier does not show that the party is registered: by what name it would stand in an event is not known.
    PartyNotRegistered,
    /// Events of this generation were erased: what they said is gone.
    Erased {
        /// Which generation.
        generation: u32,
    },
    /// The event cannot be opened.
    Unreadable {
        /// The shard.
        shard: u32,
        /// The index.
        index: LeafIndex,
    },
    /// The event opens and does not say what an event must say, such as the recipient's id.
    Malformed {
        /// The shard.
        shard: u32,
        /// The index.
        index: LeafIndex,
    },
    /// The event discloses to a recipient that is not shown to be registered, and might be the party by another name.
    RecipientNotRegistered {
        /// The shard.
        shard: u32,
        /// The index.
        index: LeafIndex,
        /// The recipient's id.
        recipient: String,
    },
}

/// Whether the dossier says that nothing of the customer was ever shared with `party`.
pub fn never_shared(verified: &VerifiedDossier, party: &Name) -> Disclosure {
    let is_registered = |name: &Name| verified.is_registered(name);
    read(&verified.events, &is_registered, verified.as_of(), party)
}

fn read(
    events: &[VerifiedEvent],
    is_registered: &dyn Fn(&Name) -> bool,
    up_to: u64,
    party: &Name,
) -> Disclosure {
    let mut found = Found::default();
    if !is_registered(party) {
        found.because(Reason::PartyNotRegistered);
    }
    for event in events {
        found.event(event, is_registered, party);
    }
    let Found {
        shared: events,
        mentions,
        reasons,
    } = found;
    if !events.is_empty() {
        Disclosure::Shared { events }
    } else if reasons.is_empty() {
        Disclosure::Never { up_to, mentions }
    } else {
        Disclosure::CannotSay { reasons }
    }
}

#[derive(Default)]
struct Found {
    shared: Vec<(u32, LeafIndex)>,
    mentions: Vec<(u32, LeafIndex)>,
    reasons: Vec<Reason>,
}

impl Found {
    fn event(&mut self, event: &VerifiedEvent, is_registered: &dyn Fn(&Name) -> bool, party: &Name) {
        let (shard, index) = (event.shard, event.index);
        let json = match &event.content {
            VerifiedContent::Opened(json) => json,
            VerifiedContent::Erased => {
                let generation = event.generation;
                return self.because(Reason::Erased { generation });
            }
            VerifiedContent::Unreadable => return self.because(Reason::Unreadable { shard, index }),
        };
        let Ok(content) = sharetrail_schemas::read(json.as_bytes()) else {
            return self.because(Reason::Malformed { shard, index });
        };
        let Some(recipient) = content.data().recipient() else {
            return;
        };
        let recipient: &str = &recipient.id;
        match (recipient == party.as_str(), only_mentions(content.kind())) {
            (true, true) => self.mentions.push((shard, index)),
            (true, false) => self.shared.push((shard, index)),
            (false, true) => {}
            (false, false) => {
                let is_known = Name::new(recipient).is_ok_and(|name| is_registered(&name));
                if !is_known {
                    let recipient = recipient.to_owned();
                    self.because(Reason::RecipientNotRegistered {
                        shard,
                        index,
                        recipient,
                    });
                }
            }
        }
    }

    fn because(&mut self, reason: Reason) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

/// Whether an event of this kind can name a recipient that got nothing by it and need not have got anything before. Any
/// other one that names a recipient says that it has data of the customer: whoever is told of a correction, or had a
/// breach, has some.
fn only_mentions(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::DisclosureFailed
            | Kind::ConsentGiven
            | Kind::ConsentRefused
            | Kind::ConsentWithdrawn
            | Kind::ConsentExpired
            | Kind::PreferenceChanged
            | Kind::RequestOpened
            | Kind::DisputeOpened
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use sharetrail_proof::note::KeyId;

    const UP_TO: u64 = 1_769_860_800;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn event(index: u64, content: VerifiedContent) -> VerifiedEvent {
        VerifiedEvent {
            generation: 0,
            index: LeafIndex(index),
            shard: 0,
            producer: name("shop.example"),
            key: KeyId([1; 4]),
            key_since: LeafIndex(2),
            covered: true,
            content,
        }
    }

    fn opened(index: u64, kind: Kind, data: &Value) -> VerifiedEvent {
        let json = json!({
            "specversion": "1.0",
            "id": index.to_string(),
            "source": "/shop",
            "type": kind.type_name(),
            "subject": "customer-42",
            "time": "2026-01-31T12:00:00Z",
            "data": data,
        });
        event(index, VerifiedContent::Opened(json.to_string()))
    }

    fn recipient(id: &str) -> Value {
        json!({ "id": id, "name": "Somebody", "role": "processor", "country": "IE" })
    }

    fn shared(index: u64, to: &str) -> VerifiedEvent {
        let data =
            json!({ "recipient": recipient(to), "categories": ["pd:Name"], "purposes": ["dpv:Marketing"] });
        opened(index, Kind::DataShared, &data)
    }

    fn collected(index: u64) -> VerifiedEvent {
        let data = json!({ "categories": ["pd:Name"], "purposes": ["dpv:Marketing"], "origin": "customer" });
        opened(index, Kind::DataCollected, &data)
    }

    /// What is said of the broker, in a dossier that shows these parties to be registered.
    fn said(events: &[VerifiedEvent], registered: &[&str]) -> Disclosure {
        let is_registered = |party: &Name| registered.contains(&party.as_str());
        read(events, &is_registered, UP_TO, &name("broker.example"))
    }

    fn never() -> Disclosure {
        Disclosure::Never {
            up_to: UP_TO,
            mentions: Vec::new(),
        }
    }

    fn cannot_say(reasons: &[Reason]) -> Disclosure {
        Disclosure::CannotSay {
            reasons: reasons.to_vec(),
        }
    }

    const BOTH: &[&str] = &["broker.example", "mailhouse.example"];

    #[test]
    fn never_is_said_where_every_event_opens_and_all_are_registered() {
        assert_eq!(said(&[], BOTH), never());
        assert_eq!(
            said(&[collected(3), shared(4, "mailhouse.example")], BOTH),
            never()
        );
    }

    /// The fault: an event that says so is outweighed by others that cannot be read.
    #[test]
    fn one_event_that_names_the_party_decides() {
        let events = [
            event(3, VerifiedContent::Unreadable),
            shared(4, "broker.example"),
            shared(5, "mailhouse.example"),
        ];
        let expected = Disclosure::Shared {
            events: vec![(0, LeafIndex(4))],
        };
        assert_eq!(said(&events, &[]), expected);
        let mut late = shared(4, "broker.example");
        late.covered = false;
        assert_eq!(said(&[late], BOTH), expected);
    }

    /// The fault: a party that received, or was told what to do with data that it has, passes for one that has none.
    #[test]
    fn every_kind_that_says_who_has_data_counts() {
        let to = recipient("broker.example");
        for (kind, data) in [
            (
                Kind::DataTransferred,
                json!({ "recipient": to, "categories": ["pd:Name"], "purposes": ["dpv:Marketing"] }),
            ),
            (
                Kind::DataReceived,
                json!({ "recipient": to, "disclosure": "share-1" }),
            ),
            (
                Kind::DataAccessed,
                json!({ "recipient": to, "categories": ["pd:Name"], "purposes": ["dpv:Marketing"] }),
            ),
            (Kind::RecipientNotified, json!({ "recipient": to })),
            (Kind::RecipientConfirmed, json!({ "recipient": to })),
            (
                Kind::BreachNotified,
                json!({ "recipient": to, "categories": ["pd:Name"], "description": "a stolen disk" }),
            ),
            (
                Kind::EventCorrected,
                json!({ "recipient": to, "corrects": "share-1", "description": "it went to somebody else" }),
            ),
        ] {
            let events = [opened(7, kind, &data)];
            let expected = Disclosure::Shared {
                events: vec![(0, LeafIndex(7))],
            };
            assert_eq!(said(&events, BOTH), expected, "{kind}");
        }
    }

    /// The fault: whoever refused a recipient is told that it received data; or is not told that it was tried.
    #[test]
    fn a_party_that_is_only_mentioned_received_nothing() {
        let to = recipient("broker.example");
        let refused = opened(
            7,
            Kind::ConsentRefused,
            &json!({ "recipient": to, "purposes": ["dpv:Marketing"] }),
        );
        let failed = opened(
            8,
            Kind::DisclosureFailed,
            &json!({ "recipient": to, "disclosure": "share-1", "outcome": "bounced" }),
        );
        let expected = Disclosure::Never {
            up_to: UP_TO,
            mentions: vec![(0, LeafIndex(7)), (0, LeafIndex(8))],
        };
        assert_eq!(said(&[refused, failed], BOTH), expected);
    }

    #[test]
    fn a_party_that_nobody_registered_may_have_any_name() {
        assert_eq!(
            said(&[collected(3)], &["mailhouse.example"]),
            cannot_say(&[Reason::PartyNotRegistered])
        );
    }

    #[test]
    fn a_recipient_that_nobody_registered_may_be_the_party() {
        let reason = Reason::RecipientNotRegistered {
            shard: 0,
            index: LeafIndex(4),
            recipient: "mailhouse.example".to_owned(),
        };
        for covered in [true, false] {
            let mut one = shared(4, "mailhouse.example");
            one.covered = covered;
            assert_eq!(
                said(&[one], &["broker.example"]),
                cannot_say(std::slice::from_ref(&reason))
            );
        }
    }

    /// The fault: "never" beside an event that is on record and may say otherwise, because it came after the customer map.
    #[test]
    fn what_cannot_be_read_may_say_anything() {
        let (shard, index) = (0, LeafIndex(3));
        for (content, reason) in [
            (VerifiedContent::Erased, Reason::Erased { generation: 0 }),
            (VerifiedContent::Unreadable, Reason::Unreadable { shard, index }),
            (
                VerifiedContent::Opened("{}".into()),
                Reason::Malformed { shard, index },
            ),
        ] {
            for covered in [true, false] {
                let mut one = event(3, content.clone());
                one.covered = covered;
                assert_eq!(said(&[one], BOTH), cannot_say(std::slice::from_ref(&reason)));
            }
        }
        let mut late = collected(3);
        late.covered = false;
        assert_eq!(said(&[late], BOTH), never());
        let mut nameless = recipient("mailhouse.example");
        nameless["id"].take();
        let data = json!({ "recipient": nameless, "categories": ["pd:Name"], "purposes": ["dpv:Marketing"] });
        assert_eq!(
            said(&[opened(3, Kind::DataShared, &data)], BOTH),
            cannot_say(&[Reason::Malformed { shard, index }])
        );
    }

    #[test]
    fn each_reason_is_told_once() {
        let events = [
            event(3, VerifiedContent::Erased),
            event(4, VerifiedContent::Erased),
        ];
        assert_eq!(
            said(&events, BOTH),
            cannot_say(&[Reason::Erased { generation: 0 }])
        );
    }
}
