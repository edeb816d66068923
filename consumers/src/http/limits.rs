//! How many requests a second are taken: of a customer, a service, an address.
//!
//! In scope: the limits of rate, the class a request falls into before it is known who asks. Out of scope: limits of
//! size, time and connections (`observe`, `connections`), whose address counts (`proxies`). Trust: none is asked for
//! here. Only hashes of callers are kept, under a key of this run, and not for long.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sharetrail_proof::name::Name;

use super::observe::{Role, note_role};
use super::problem::{Problem, ProblemKind};
use super::settings::LimitSettings;

/// How many seconds' worth may come at once: a page is a handful of requests, and then nothing for a minute.
const BURST_SECONDS: u32 = 10;
/// How much more than a stranger an address may ask in all: behind one there can be a whole company.
const PER_ADDRESS: u32 = 1_000;
/// The most of anything a second; a limit beyond it is none.
const MOST_PER_SECOND: u32 = 100_000_000;

type Limiter = DefaultKeyedRateLimiter<u64>;

/// The limits of rate.
#[derive(Clone)]
pub(crate) struct Limits(Arc<Limiters>);

struct Limiters {
    /// Of everything that comes from an address.
    addresses: Limiter,
    /// Of what comes from an address and shows nothing, or nothing good.
    strangers: Limiter,
    people: Limiter,
    services: Limiter,
    hasher: RandomState,
}

impl Limits {
    pub(super) fn new(settings: &LimitSettings) -> Self {
        Self(Arc::new(Limiters {
            addresses: limiter(settings.stranger_per_second.saturating_mul(PER_ADDRESS)),
            strangers: limiter(settings.stranger_per_second),
            people: limiter(settings.customer_per_second),
            services: limiter(settings.service_per_second),
            hasher: RandomState::new(),
        }))
    }

    /// Counts a request of a customer who has proven to be it.
    pub(crate) fn check_customer(&self, customer: &str) -> Result<(), Problem> {
        note_role(Role::Customer);
        check(&self.0.people, self.0.hasher.hash_one(("customer", customer)))
    }

    /// Counts a request of an officer, by what tells them from other officers.
    pub(crate) fn check_officer(&self, officer: &str) -> Result<(), Problem> {
        note_role(Role::Officer);
        check(&self.0.people, self.0.hasher.hash_one(("officer", officer)))
    }

    /// Counts a request of a producer's services.
    pub(crate) fn check_service(&self, producer: &Name) -> Result<(), Problem> {
        note_role(Role::Service);
        check(&self.0.services, self.0.hasher.hash_one(producer.as_str()))
    }

    /// Counts a request before it is known who asks.
    pub(super) fn admit(&self, from: IpAddr, asked: Asked) -> Result<(), Problem> {
        let key = self.key_of(from);
        check(&self.0.addresses, key)?;
        if asked.is_cheap || asked.shows_something {
            return Ok(());
        }
        check(&self.0.strangers, key)
    }

    /// Counts an answer to somebody who showed something and is not known by it: guessing is as limited as asking, and
    /// showing anything at all is no way around the limit.
    pub(super) fn answered(
        &self,
        from: IpAddr,
        asked: Asked,
        is_known: bool,
        status: StatusCode,
    ) -> Result<(), Problem> {
        let is_refused = status == StatusCode::UNAUTHORIZED;
        if !asked.shows_something || is_known || (asked.is_cheap && !is_refused) {
            return Ok(());
        }
        check(&self.0.strangers, self.key_of(from))
    }

    /// Forgets whoever has not asked for a while.
    pub(super) fn forget(&self) {
        let all = [
            &self.0.addresses,
            &self.0.strangers,
            &self.0.people,
            &self.0.services,
        ];
        for limiter in all {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    /// An address; of IPv6 the network, which is one household's or company's.
    fn key_of(&self, from: IpAddr) -> u64 {
        let network = match from.to_canonical() {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() >> 64 << 64,
        };
        self.0.hasher.hash_one(network)
    }
}

/// What counts of a request before it is known who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    is_cheap: bool,
    /// Be it good or not.
    shows_something: bool,
}

impl Asked {
    pub(super) fn new(path: &str, shows_something: bool) -> Self {
        Self {
            is_cheap: is_cheap(path),
            shows_something,
        }
    }
}

/// What costs next to nothing, and what one who checks a whole log asks for by the thousand.
fn is_cheap(path: &str) -> bool {
    let folders = ["/log/", "/map/", "/peer/", "/assets/"];
    let files = ["/healthz", "/readyz", "/metrics"];
    folders.iter().any(|folder| path.starts_with(folder)) || files.contains(&path)
}

fn limiter(per_second: u32) -> Limiter {
    let rate = nonzero(per_second);
    let burst = nonzero(rate.get().saturating_mul(BURST_SECONDS));
    RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
}

fn nonzero(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count.min(MOST_PER_SECOND)).unwrap_or(NonZeroU32::MIN)
}

fn check(limiter: &Limiter, key: u64) -> Result<(), Problem> {
    limiter.check_key(&key).map_err(|refused| {
        let wait = refused.wait_time_from(limiter.clock().now());
        too_many(wait)
    })
}

fn too_many(wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_secs())
        .unwrap_or(u32::MAX)
        .saturating_add(1);
    let detail = format!("this is more than this host answers in so short a time; ask again in {seconds} s");
    Problem::new(ProblemKind::TooManyRequests, detail).with_wait(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_second: u32) -> Limits {
        Limits::new(&LimitSettings {
            customer_per_second: per_second,
            service_per_second: per_second,
            stranger_per_second: per_second,
            ..LimitSettings::default()
        })
    }

    fn taken(mut ask: impl FnMut() -> Result<(), Problem>) -> usize {
        (0..1_000).take_while(|_| ask().is_ok()).count()
    }

    /// The fault: one who asks too much keeps others out, or is not kept from anything.
    #[test]
    fn each_caller_has_a_limit_of_their_own() {
        let limits = limits(1);
        let count = taken(|| limits.check_customer("a"));
        assert!((10..20).contains(&count), "{count}");
        let refused = limits.check_customer("a").unwrap_err();
        assert_eq!(refused.kind(), ProblemKind::TooManyRequests);
        assert!(limits.check_customer("b").is_ok());
        assert!(limits.check_officer("a").is_ok());
        assert!(limits.check_service(&Name::new("a").unwrap()).is_ok());
        limits.forget();
        assert!(limits.check_customer("a").is_err());
    }

    /// The fault: somebody who shows nothing is not limited, an auditor who reads a whole log is, or one with a network
    /// of IPv6 addresses has as many limits as addresses.
    #[test]
    fn an_address_that_shows_nothing_is_limited_but_for_files() {
        let limits = limits(1);
        let (page, tile) = (Asked::new("/me", false), Asked::new("/log/0/tile/0/000", false));
        let admit = |from: &str, asked| limits.admit(from.parse().unwrap(), asked);
        assert!(taken(|| admit("127.0.0.1", page)) < 20);
        assert!(admit("::ffff:127.0.0.1", page).is_err());
        assert!(admit("127.0.0.2", page).is_ok());
        assert_eq!(taken(|| admit("127.0.0.1", tile)), 1_000);
        let shown = Asked::new("/v1/me/trail", true);
        assert_eq!(taken(|| admit("127.0.0.1", shown)), 1_000);
        assert!(taken(|| admit("2001:db8::1", page)) < 20);
        assert!(admit("2001:db8::2", page).is_err());
        assert!(admit("2001:db8:0:1::1", page).is_ok());
    }

    /// The fault: whoever adds a header that means nothing is held to no limit.
    #[test]
    fn showing_what_is_no_good_is_limited_too() {
        let (page, tile) = (Asked::new("/signin", true), Asked::new("/log/0/checkpoint", true));
        let from: IpAddr = "127.0.0.1".parse().unwrap();
        for (asked, status) in [
            (page, StatusCode::SEE_OTHER),
            (page, StatusCode::UNAUTHORIZED),
            (tile, StatusCode::UNAUTHORIZED),
        ] {
            let limits = limits(1);
            let count = taken(|| limits.answered(from, asked, false, status));
            assert!(count < 20, "{count}");
            assert!(limits.answered(from, asked, true, status).is_ok());
            assert!(limits.answered(from, tile, false, StatusCode::OK).is_ok());
            let nothing = Asked::new("/signin", false);
            assert!(limits.answered(from, nothing, false, status).is_ok());
        }
    }
}
