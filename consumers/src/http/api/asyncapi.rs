//! `/asyncapi.json`: what crosses the bus, as `AsyncAPI` 3.
//!
//! In scope: addresses, messages and who sends them, seen from a host of the ledger. Addresses and limits are taken
//! from the code that uses them. Out of scope: every byte of the binary messages; docs/formats.md §10 and §20 to §22
//! draw them. Trust: none needed; it says the same for every ledger.

use serde_json::{Value, json};
use sharetrail_ledger::bus::BusNames;
use sharetrail_ledger::desk::SLOTS_MAX;
use sharetrail_ledger::wire::MAX_MESSAGE_BYTES;
use sharetrail_proof::frame::MAX_FRAME_BYTES;
use sharetrail_proof::name::{MAX_SHARDS, Name};
use sharetrail_proof::note::MAX_NOTE_BYTES;
use sharetrail_proof::tree::MAX_PROOF_HASHES;

/// What stands for a value in an address, and the parameter that it becomes.
const LEDGER: (&str, &str) = ("the-ledger", "{ledger}");
const PRODUCER: (&str, &str) = ("the-producer", "{producer}");
const HOST: (&str, &str) = ("the-host", "{host}");
/// No shard has this number, so that it stands for any.
const SHARD: u32 = MAX_SHARDS;

const ABOUT: &str = "What producers and hosts of a ledger tell each other over NATS. Told from a host's side: it \
    receives what producers send. Frames go through JetStream, one stream a shard; all else is core NATS. Streams, \
    the register (a key-value bucket) and every byte of binary messages: docs/formats.md §10 and §20 to §22.";

/// The document.
pub(super) fn document() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sharetrail: the bus",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": servers(),
        "channels": channels(),
        "operations": operations(),
        "components": components(),
    })
}

fn servers() -> Value {
    json!({
        "bus": {
            "host": "{host}",
            "protocol": "nats",
            "description": "A NATS cluster with JetStream; `bus` in ledger.toml says where.",
            "variables": {
                "host": {
                    "description": "Name and port of one of its nodes.",
                    "default": "localhost:4222",
                },
            },
            "security": [{ "$ref": "#/components/securitySchemes/nkey" }],
        },
    })
}

/// The addresses, with parameters where values stand.
struct Addresses {
    frames: String,
    heads: String,
    held: String,
    vault: String,
    control: String,
    slots: String,
}

impl Addresses {
    fn new() -> Self {
        let name = |text| Name::new(text).expect("these fixed texts are names");
        let (names, producer, host) = (BusNames::new(&name(LEDGER.0)), name(PRODUCER.0), name(HOST.0));
        let address = |text: String| {
            let text = text.replace(&SHARD.to_string(), "{shard}");
            let stands = [LEDGER, PRODUCER, HOST];
            stands
                .iter()
                .fold(text, |text, (value, parameter)| text.replace(value, parameter))
        };
        Self {
            frames: address(names.frames(SHARD, &producer)),
            heads: address(names.heads(SHARD)),
            held: address(names.held(SHARD)),
            vault: address(names.vault(&producer)),
            control: address(names.control()),
            slots: address(names.slots(&host)),
        }
    }
}

fn channels() -> Value {
    let addresses = Addresses::new();
    json!({
        "frames": {
            "address": addresses.frames,
            "title": "A producer's batches for a shard",
            "description": "JetStream. The producer is the last token; a frame whose note names another is rejected.",
            "parameters": parameters(&["ledger", "shard", "producer"]),
            "messages": messages(&["frame"]),
        },
        "heads": {
            "address": addresses.heads,
            "title": "What is sealed",
            "description": "After each round of the sequencer, in several messages if need be, and once a second.",
            "parameters": parameters(&["ledger", "shard"]),
            "messages": messages(&["heads"]),
        },
        "held": {
            "address": addresses.held,
            "title": "What the archives of the hosts hold",
            "parameters": parameters(&["ledger", "shard"]),
            "messages": messages(&["held"]),
        },
        "vault": {
            "address": addresses.vault,
            "title": "A producer's requests for labels and keys",
            "description": "The leader of shard 0 answers.",
            "parameters": parameters(&["ledger", "producer"]),
            "messages": messages(&["vaultRequest"]),
        },
        "control": {
            "address": addresses.control,
            "title": "The operator's commands",
            "description": "The leader of shard 0 answers; what does not open gets no answer.",
            "parameters": parameters(&["ledger"]),
            "messages": messages(&["controlRequest"]),
        },
        "slots": {
            "address": addresses.slots,
            "title": "Slots of the vault, between hosts",
            "description": "The host that is named answers.",
            "parameters": parameters(&["ledger", "host"]),
            "messages": messages(&["slotsRequest"]),
        },
        "producerInbox": {
            "address": null,
            "title": "Answers to a producer",
            "description": "The reply address of the request, under the inbox prefix `_INBOX_<producer>.`.",
            "messages": messages(&["vaultReply"]),
        },
        "hostInbox": {
            "address": null,
            "title": "Answers to a host or the operator",
            "description": "The reply address of the request, under the inbox prefix `_INBOX_host.`.",
            "messages": messages(&["controlReply", "slotsReply"]),
        },
    })
}

fn parameters(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| {
            (
                (*name).to_owned(),
                json!({ "$ref": format!("#/components/parameters/{name}") }),
            )
        })
        .collect()
}

fn messages(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| {
            (
                (*name).to_owned(),
                json!({ "$ref": format!("#/components/messages/{name}") }),
            )
        })
        .collect()
}

fn operations() -> Value {
    json!({
        "receiveFrames": operation("receive", "frames", "frame", "A batch that a producer signed."),
        "sendHeads": operation("send", "heads", "heads", "The leader of a shard tells its checkpoint and what it covers."),
        "sendHeld": operation("send", "held", "held", "A follower tells which checkpoint its archive holds."),
        "receiveHeld": operation("receive", "held", "held", "Another archive holds a checkpoint: it is published."),
        "answerVault": answered("vault", "producerInbox", "Labels and keys for a batch of customers."),
        "answerControl": answered("control", "hostInbox", "A command of the operator."),
        "answerSlots": answered("slots", "hostInbox", "Slots to take over, or to give."),
    })
}

fn operation(action: &str, channel: &str, message: &str, summary: &str) -> Value {
    json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{channel}") },
        "summary": summary,
        "messages": [{ "$ref": format!("#/channels/{channel}/messages/{message}") }],
    })
}

/// A request to a channel, whose messages have its name, and the reply to an inbox.
fn answered(channel: &str, inbox: &str, summary: &str) -> Value {
    let mut operation = operation("receive", channel, &format!("{channel}Request"), summary);
    operation["reply"] = json!({
        "channel": { "$ref": format!("#/channels/{inbox}") },
        "messages": [{ "$ref": format!("#/channels/{inbox}/messages/{channel}Reply") }],
    });
    operation
}

fn components() -> Value {
    json!({
        "parameters": {
            "ledger": { "description": "The ledger's name with `.` written as `_`." },
            "shard": { "description": format!("The shard's index in text, below {MAX_SHARDS}.") },
            "producer": { "description": "The producer's name with `.` written as `_`." },
            "host": { "description": "The host's name with `.` written as `_`." },
        },
        "securitySchemes": {
            "nkey": {
                "type": "asymmetricEncryption",
                "description": "An nkey, one a producer and one a host; `sharetrail keys` writes the users.",
            },
        },
        "messages": component_messages(),
        "schemas": {
            "heads": heads(),
            "held": held(),
            "control": control(),
            "controlReply": control_reply(),
            "hash": pattern("32 bytes in base64.", "^[A-Za-z0-9+/]{43}=$"),
            "chain": pattern("16 random bytes.", "^[0-9a-f]{32}$"),
            "name": pattern("A host, a producer or a party.", "^[a-z0-9.-]{1,63}$"),
            "vkey": { "type": "string", "description": "A C2SP note key that bears the producer's name." },
        },
    })
}

fn component_messages() -> Value {
    let desk = "Encrypted; docs/formats.md §22.1 and §22.2.";
    let slots = format!("Encrypted; at most {SLOTS_MAX} slots (docs/formats.md §22.3).");
    let command =
        "Encrypted; inside is the schema `control` after a byte and a time (docs/formats.md §22.4).";
    let outcome = "Encrypted; inside is the schema `controlReply`.";
    let frame = "One batch: note, entries, sealed contents (docs/formats.md §10).";
    json!({
        "frame": binary("Frame", frame, MAX_FRAME_BYTES),
        "heads": message("Heads", "docs/formats.md §21.1. Only `checkpoint` is signed.", "heads"),
        "held": message("Held", "docs/formats.md §21.2.", "held"),
        "vaultRequest": binary("Request for labels and keys", desk, MAX_MESSAGE_BYTES),
        "vaultReply": binary("Labels and keys", desk, MAX_MESSAGE_BYTES),
        "controlRequest": binary("Command", command, MAX_MESSAGE_BYTES),
        "controlReply": binary("What came of a command", outcome, MAX_MESSAGE_BYTES),
        "slotsRequest": binary("Slots pushed or asked for", &slots, MAX_MESSAGE_BYTES),
        "slotsReply": binary("Slots", &slots, MAX_MESSAGE_BYTES),
    })
}

fn binary(title: &str, summary: &str, max_bytes: usize) -> Value {
    json!({
        "title": title,
        "summary": summary,
        "contentType": "application/octet-stream",
        "payload": {
            "type": "string",
            "format": "binary",
            "minLength": 1,
            "maxLength": max_bytes,
        },
    })
}

fn message(title: &str, summary: &str, schema: &str) -> Value {
    json!({
        "title": title,
        "summary": summary,
        "contentType": "application/json",
        "payload": { "$ref": format!("#/components/schemas/{schema}") },
    })
}

/// An object whose members are all required, but those that `optional` names.
fn object(properties: Value, optional: &[&str]) -> Value {
    let required: Vec<String> = properties
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys)
        .filter(|name| !optional.contains(&name.as_str()))
        .cloned()
        .collect();
    let mut schema = json!({ "type": "object", "required": required, "additionalProperties": false });
    schema["properties"] = properties;
    schema
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn list(items: &Value, description: &str) -> Value {
    json!({ "type": "array", "description": description, "items": items })
}

fn pattern(description: &str, pattern: &str) -> Value {
    json!({ "type": "string", "description": description, "pattern": pattern })
}

fn number(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn shard() -> Value {
    json!({ "type": "integer", "minimum": 0, "exclusiveMaximum": MAX_SHARDS })
}

fn heads() -> Value {
    let sealed = object(
        json!({
            "chain": reference("chain"),
            "number": number("The batch's number in its chain."),
            "index": number("Where the batch entry is in the log."),
            "proof": {
                "type": "array",
                "description": "The batch entry's inclusion path under the checkpoint.",
                "maxItems": MAX_PROOF_HASHES,
                "items": reference("hash"),
            },
        }),
        &[],
    );
    let rejected = object(
        json!({
            "chain": reference("chain"),
            "number": number("The batch's number in its chain."),
            "hash": reference("hash"),
            "position": {
                "type": ["integer", "null"],
                "minimum": 0,
                "description": "The entry at fault, where it is one.",
            },
            "reason": { "type": "string" },
        }),
        &[],
    );
    let head = object(
        json!({
            "chain": reference("chain"),
            "next": number("The number that is due."),
            "prev": reference("hash"),
        }),
        &[],
    );
    object(
        json!({
            "shard": shard(),
            "stream": pattern("Id of the live stream.", "^[0-9a-f]{32}$"),
            "seq": number("The last message that was decided on."),
            "last": number("The last message of the stream."),
            "checkpoint": {
                "type": "string",
                "description": "The signed checkpoint note.",
                "maxLength": MAX_NOTE_BYTES,
            },
            "sealed": list(&sealed, "Batches that came in since the last heads and are on record."),
            "rejected": list(&rejected, "Batches that came in and were not let in."),
            "heads": list(&head, "Where chains stand that a batch came for which does not continue them."),
            "halted": { "type": ["string", "null"], "description": "Why the shard has halted, if it has." },
            "holder": { "type": "string", "description": "The host that leads." },
        }),
        &["heads"],
    )
}

fn held() -> Value {
    object(
        json!({
            "host": reference("name"),
            "shard": shard(),
            "size": number("Leaves on its disk."),
            "root": reference("hash"),
        }),
        &[],
    )
}

fn control() -> Value {
    let keyed = |command: &str| {
        let key = reference("vkey");
        object(
            json!({ "command": { "const": command }, "producer": reference("name"), "key": key }),
            &[],
        )
    };
    let text = || json!({ "type": ["string", "null"] });
    json!({
        "oneOf": [
            keyed("register"),
            keyed("rotate"),
            object(json!({ "command": { "const": "revoke" }, "producer": reference("name") }), &[]),
            object(json!({ "command": { "const": "next_stream" }, "shard": shard() }), &[]),
            object(
                json!({
                    "command": { "const": "party" },
                    "party": reference("name"),
                    "name": { "type": "string" },
                    "country": text(),
                    "contact": text(),
                }),
                &["country", "contact"],
            ),
            object(
                json!({
                    "command": { "const": "erase" },
                    "label": pattern("The customer's label.", "^[0-9a-f]{64}$"),
                    "generation": number("Which generation of the customer it is."),
                }),
                &[],
            ),
        ],
    })
}

fn control_reply() -> Value {
    json!({
        "oneOf": [
            object(json!({ "answer": { "const": "done" } }), &[]),
            object(
                json!({
                    "answer": { "const": "failed" },
                    "why": { "type": "string" },
                    "refused": { "type": "boolean", "description": "It was looked at and not let in." },
                }),
                &[],
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sharetrail_ledger::bus::StreamSeq;
    use sharetrail_ledger::wire::{
        ChainNumber, Control, ControlReply, Heads, Held, RejectedNote, SealedBatch,
    };
    use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
    use sharetrail_proof::name::{ChainId, Label};
    use sharetrail_proof::note::NoteSigner;

    use super::*;
    use crate::http::api::openapi::tests::assert_references;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn keys(value: &Value) -> BTreeSet<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// A message as the code writes it has the members that the schema tells of.
    fn agree(schema: &Value, bytes: &[u8]) {
        let message: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(keys(&schema["properties"]), keys(&message));
        for (member, value) in message.as_object().unwrap() {
            let rule = &schema["properties"][member];
            if let (Some(items), Some(list)) = (rule.get("items"), value.as_array()) {
                for item in list.iter().filter(|item| item.is_object()) {
                    assert_eq!(keys(&items["properties"]), keys(item), "{member}");
                }
            }
        }
    }

    /// The fault: a message grows a member, and the document goes on to tell the old form.
    #[test]
    fn messages_have_the_members_that_are_told() {
        let chain = ChainId([7; 16]);
        let sealed = SealedBatch {
            chain,
            number: 1,
            index: LeafIndex(2),
            proof: vec![Hash::ZERO],
        };
        let rejected = RejectedNote {
            chain,
            number: 1,
            hash: Hash::ZERO,
            position: None,
            reason: "no".into(),
        };
        let head = ChainNumber {
            chain,
            next: 1,
            prev: Hash::ZERO,
        };
        let message = Heads {
            shard: 0,
            stream: "0f".repeat(16),
            seq: StreamSeq(1),
            last: StreamSeq(1),
            checkpoint: String::new(),
            sealed: vec![sealed],
            rejected: vec![rejected],
            heads: vec![head],
            halted: None,
            holder: "a".into(),
        };
        agree(&heads(), &message.to_bytes());
        let message = Held {
            host: name("a"),
            shard: 0,
            size: TreeSize(1),
            root: Hash::ZERO,
        };
        agree(&held(), &message.to_bytes());
    }

    #[test]
    fn every_command_and_reply_is_told() {
        let key = || {
            let signer = NoteSigner::from_seed("till.example", &[1; 32]).unwrap();
            signer.verifier().clone()
        };
        let commands = [
            Control::Register {
                producer: name("till.example"),
                key: key(),
            },
            Control::Rotate {
                producer: name("till.example"),
                key: key(),
            },
            Control::Revoke {
                producer: name("till.example"),
            },
            Control::NextStream { shard: 0 },
            Control::Party {
                party: name("courier.example"),
                name: "Courier".into(),
                country: Some("IE".into()),
                contact: Some("a@b".into()),
            },
            Control::Erase {
                label: Label([1; 32]),
                generation: 0,
            },
        ];
        told(&control(), "command", &commands.map(|command| command.to_bytes()));
        let failed = ControlReply::Failed {
            why: "no".into(),
            refused: false,
        };
        let replies = [ControlReply::Done, failed].map(|reply| reply.to_bytes());
        told(&control_reply(), "answer", &replies);
    }

    fn told(schema: &Value, tag: &str, written: &[Vec<u8>]) {
        let forms = schema["oneOf"].as_array().unwrap();
        assert_eq!(forms.len(), written.len());
        for bytes in written {
            let message: Value = serde_json::from_slice(bytes).unwrap();
            let form = forms
                .iter()
                .find(|form| form["properties"][tag]["const"] == message[tag]);
            assert_eq!(keys(&form.unwrap()["properties"]), keys(&message));
        }
    }

    /// The fault: an address keeps a value of its own, or loses a parameter that is told of.
    #[test]
    fn addresses_hold_their_parameters_and_nothing_else() {
        let document = document();
        assert_eq!(
            document["channels"]["frames"]["address"],
            "ledger.{ledger}.{shard}.{producer}"
        );
        assert_eq!(document["channels"]["control"]["address"], "control.{ledger}");
        for (channel, told) in document["channels"].as_object().unwrap() {
            let Some(address) = told["address"].as_str() else {
                continue;
            };
            let found: BTreeSet<&str> = address
                .split('.')
                .filter_map(|token| token.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(found, keys(&told["parameters"]), "{channel}");
            assert!(
                !address.contains("the-") && !address.contains(&SHARD.to_string()),
                "{address}"
            );
        }
    }

    /// The fault: a `$ref` leads nowhere, and tools refuse the whole document.
    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        assert_references(&document, &document);
    }
}
