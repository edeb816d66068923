//! `keys`: the keys of producers, as the registry in the log has them, what their hosts need, and parties without keys.
//!
//! In scope: arguments, the page, asking before a revocation. Out of scope: the registry's rules.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;
use sharetrail_ledger::keys::{self, KeyStatus};
use sharetrail_ledger::remote;
use sharetrail_ledger::wire::Control;
use sharetrail_ledger::{Engine, Ledger, files, host};
use sharetrail_proof::name::Name;

use crate::answer::Answer;
use crate::opened::sequenced;
use crate::output::{Output, Page, note, number};
use crate::tokens;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List all keys, ended ones too
    List,
    /// Make a key for a new producer, and put both on record
    Add {
        /// The producer
        name: Name,
    },
    /// Give a producer a new key; the old one ends
    Rotate {
        /// The producer
        name: Name,
        /// Write new credentials to this folder, for a producer on another host
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// End all keys of a producer: nothing that it signs is accepted from then on
    Revoke {
        /// The producer
        name: Name,
        /// Do it: a revocation is on record for ever
        #[arg(long)]
        yes: bool,
    },
    /// Register a party that records nothing, such as a recipient, or what is to be known of a party from now on
    ///
    /// Only where recipients are registered can a dossier say that a party never received anything.
    Party {
        /// The party, by the id that events give for it as their recipient
        party: Name,
        /// Its name as people read it; without it, the id
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Where it is established, ISO 3166-1 alpha-2
        #[arg(long, value_name = "CC")]
        country: Option<String>,
        /// How to reach it about privacy
        #[arg(long, value_name = "TEXT")]
        contact: Option<String>,
    },
    /// Register a producer and write the credentials to take to its host, where it records over the bus
    Enrol {
        /// The producer
        name: Name,
        /// The folder for its credentials: new, or empty
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Write what another host needs to serve this ledger
    Host {
        /// What the other host is called
        name: Name,
        /// The folder to take there: new, or empty
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Make a token with which a service records over HTTP in a producer's name; it is shown once
    Token {
        /// The producer, whose key must lie in this folder
        producer: Name,
        /// What the token is called, to take it back by
        #[arg(long, value_name = "TEXT")]
        name: String,
    },
    /// List the services' tokens by name; the tokens themselves are kept nowhere
    Tokens,
    /// Take a service's token back: it is refused from then on
    Untoken {
        /// What the token is called
        name: String,
    },
    /// Make an nkey for the operator's user on the bus, before the ledger is made
    Nkey {
        /// The file for its secret half
        file: PathBuf,
        /// The ledger's name
        #[arg(long = "for", value_name = "LEDGER")]
        of: Name,
    },
}

/// Lists or changes keys.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    match &args.action {
        Action::Revoke { name, yes: false } => {
            bail!("revoking the keys of {name} is on record for ever; say so with --yes")
        }
        Action::Nkey { file, of } => nkey(file, of, output)?,
        Action::Host { name, to } => another_host(&Ledger::open(root)?, name, to, output)?,
        Action::List => list(&sequenced(root)?, output)?,
        Action::Token { producer, name } => tokens::add(&Ledger::open(root)?, producer, name, output)?,
        Action::Tokens => tokens::list(&Ledger::open(root)?, output)?,
        Action::Untoken { name } => tokens::take_back(&Ledger::open(root)?, name, output)?,
        Action::Add { name } => {
            change(&Ledger::open(root)?, &Change::Add(name))?;
            told(name, "added", output)?;
        }
        Action::Rotate { name, to: None } => {
            change(&Ledger::open(root)?, &Change::Rotate(name))?;
            told(name, "rotated", output)?;
        }
        Action::Rotate { name, to: Some(to) } => {
            let ledger = Ledger::open(root)?;
            can_enrol(&ledger, to)?;
            change(&ledger, &Change::Rotate(name))?;
            enrol(&ledger, name, to, "rotated", output)?;
        }
        Action::Revoke { name, .. } => revoke(&Ledger::open(root)?, name, output)?,
        Action::Party {
            party,
            name,
            country,
            contact,
        } => {
            let details = Party {
                id: party,
                name: name.as_deref().unwrap_or(party.as_str()),
                country: country.as_deref(),
                contact: contact.as_deref(),
            };
            change(&Ledger::open(root)?, &Change::Party(&details))?;
            registered(&details, output)?;
        }
        Action::Enrol { name, to } => {
            let ledger = Ledger::open(root)?;
            can_enrol(&ledger, to)?;
            if !has_valid_key(&ledger, name)? {
                change(&ledger, &Change::Add(name))?;
            }
            enrol(&ledger, name, to, "enrolled", output)?;
        }
    }
    Ok(Answer::Yes)
}

/// Asked before anything is put on record: the ledger has a bus that reaches elsewhere, and `to` is new or empty.
fn can_enrol(ledger: &Ledger, to: &Path) -> anyhow::Result<()> {
    if ledger.settings().bus.is_none() {
        bail!(
            "the bus of this ledger lies in its folder; a producer elsewhere needs one made with `init --bus`"
        );
    }
    let is_used = match std::fs::read_dir(to) {
        Ok(mut items) => items.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", to.display())),
    };
    if is_used {
        bail!(
            "{} is not empty; choose another folder for the credentials",
            to.display()
        );
    }
    Ok(files::check_private(to)?)
}

fn revoke(ledger: &Ledger, name: &Name, output: &Output) -> anyhow::Result<()> {
    change(ledger, &Change::Revoke(name))?;
    if remote::withdraw(ledger, name)? {
        note("its user on the bus is withdrawn once the servers read bus-users/users.conf again");
    }
    keys::put_revoked_away(ledger, name)?;
    told(name, "revoked", output)
}

/// Whether the producer's key in this folder is on record and valid.
fn has_valid_key(ledger: &Ledger, name: &Name) -> anyhow::Result<bool> {
    let known = keys::list(&sequenced(ledger.root())?)?;
    Ok(known
        .iter()
        .any(|key| key.party == *name && key.until.is_none() && key.private_here))
}

/// A party without a key, and what is to be known of it.
struct Party<'a> {
    id: &'a Name,
    name: &'a str,
    country: Option<&'a str>,
    contact: Option<&'a str>,
}

/// A change of the registry.
enum Change<'a> {
    Add(&'a Name),
    Rotate(&'a Name),
    Revoke(&'a Name),
    Party(&'a Party<'a>),
}

/// Makes a change here, or has the host that leads make it.
fn change(ledger: &Ledger, change: &Change<'_>) -> anyhow::Result<()> {
    match Engine::start(ledger) {
        Ok(engine) => {
            engine.notices().iter().for_each(|notice| note(notice));
            match change {
                Change::Add(name) => keys::add_producer(&engine, name)?,
                Change::Rotate(name) => keys::rotate(&engine, name)?,
                Change::Revoke(name) => keys::revoke(&engine, name)?,
                Change::Party(one) => {
                    keys::register_party(&engine, one.id, one.name, one.country, one.contact)?;
                }
            }
            Ok(engine.stop()?)
        }
        Err(error) if error.is_locked() && ledger.settings().bus.is_some() => elsewhere(ledger, change),
        Err(error) => Err(error.into()),
    }
}

fn elsewhere(ledger: &Ledger, change: &Change<'_>) -> anyhow::Result<()> {
    match change {
        Change::Add(name) => {
            let (producer, key) = ((*name).clone(), keys::own_key(ledger, name)?.verifier().clone());
            host::command(ledger, &Control::Register { producer, key })?;
        }
        Change::Rotate(name) => {
            let (producer, key) = ((*name).clone(), keys::next_key(ledger, name)?.verifier().clone());
            host::command(ledger, &Control::Rotate { producer, key })?;
            keys::put_next_key(ledger, name)?;
        }
        Change::Revoke(name) => {
            let producer = (*name).clone();
            host::command(ledger, &Control::Revoke { producer })?;
        }
        Change::Party(one) => {
            let control = Control::Party {
                party: one.id.clone(),
                name: one.name.to_owned(),
                country: one.country.map(str::to_owned),
                contact: one.contact.map(str::to_owned),
            };
            host::command(ledger, &control)?;
        }
    }
    Ok(())
}

fn registered(one: &Party<'_>, output: &Output) -> anyhow::Result<()> {
    let summary = json!({
        "party": one.id,
        "name": one.name,
        "country": one.country,
        "contact": one.contact,
        "done": "registered",
    });
    output.give(&summary, |page| {
        page.holds(&format!("{}: {}, on record in every shard", one.id, one.name));
    })
}

fn told(name: &Name, done: &str, output: &Output) -> anyhow::Result<()> {
    let text = format!("{name}: key {done}, on record in every shard");
    output.give(&json!({ "producer": name, "done": done }), |page| {
        page.holds(&text);
    })
}

fn enrol(ledger: &Ledger, name: &Name, to: &Path, done: &str, output: &Output) -> anyhow::Result<()> {
    let bus = ledger
        .settings()
        .bus
        .clone()
        .context("the bus of this ledger lies in its folder")?;
    let signer = keys::producer_signer(ledger, name)?;
    if let Some(host) = ledger.settings().host.as_ref().filter(|_| bus.nkey.is_some()) {
        remote::host_user(ledger, host)?;
    }
    let made = remote::enrol(ledger, name, &signer, to, &bus)?;
    let summary = json!({
        "producer": name,
        "done": done,
        "credentials": made.credentials.display().to_string(),
        "users": made.users.display().to_string(),
        "user": made.user,
    });
    output.give(&summary, |page| {
        page.holds(&format!("{name}: {done}, its key on record in every shard"));
        page.field(
            2,
            "folder",
            &format!("{}: take it to the producer's host", made.credentials.display()),
        );
        page.field(
            2,
            "users",
            &format!("{}: put it on the servers and reload them", made.users.display()),
        );
        page.verbatim(
            2,
            &format!("sharetrail --ledger {} record FILE", made.credentials.display()),
        );
    })
}

fn another_host(ledger: &Ledger, name: &Name, to: &Path, output: &Output) -> anyhow::Result<()> {
    let has_users = ledger
        .settings()
        .bus
        .as_ref()
        .is_some_and(|bus| bus.nkey.is_some());
    if let Some(own) = ledger.settings().host.as_ref().filter(|_| has_users) {
        remote::host_user(ledger, own)?;
        remote::host_user(ledger, name)?;
    }
    host::host_folder(ledger, to, name)?;
    let summary = json!({ "host": name, "folder": to.display().to_string() });
    output.give(&summary, |page| {
        page.holds(&format!(
            "{} holds what host {name} needs: take it there, and delete it here",
            to.display()
        ));
        page.verbatim(
            2,
            "SHARETRAIL_HOME=DIR/outside sharetrail --ledger DIR/ledger serve",
        );
    })
}

fn nkey(file: &Path, ledger: &Name, output: &Output) -> anyhow::Result<()> {
    let user = remote::first_user(file, ledger)?;
    let summary = json!({ "file": file.display().to_string(), "user": user.public, "users": user.users });
    output.give(&summary, |page| {
        page.holds(&format!(
            "{}: keep it private, and name it with `init --bus-nkey`",
            file.display()
        ));
        page.text(2, "The servers' users.conf to begin with:");
        user.users.lines().for_each(|line| page.verbatim(2, line));
    })
}

fn list(ledger: &Ledger, output: &Output) -> anyhow::Result<()> {
    let keys = keys::list(ledger)?;
    output.give(&keys, |page| keys.iter().for_each(|key| write(page, key)))
}

fn write(page: &mut Page, key: &KeyStatus) {
    page.heading(key.party.as_str());
    page.verbatim(2, &key.key);
    let from = format!("valid from leaf {}", number(key.from.0));
    let span = match key.until {
        Some(until) => format!("{from}, ended at leaf {}", number(until.0)),
        None => from,
    };
    page.text(
        2,
        &format!(
            "{span}; {}",
            if key.private_here {
                "its private half is here"
            } else {
                "its private half is not here"
            }
        ),
    );
}
