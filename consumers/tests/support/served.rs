//! The server of everything, on a ledger at work.
//!
//! In scope: what stands behind every server of the API under test. Out of scope: its settings, who asks it, folding and
//! looking beside it, which are the tests' own.

use std::sync::Arc;

use sharetrail_consumers::http::{DemoIssuer, HttpOptions, HttpServer, HttpSettings, LimitSettings};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{Shelf, Watch};
use sharetrail_ledger::Ledger;

use super::hands::TestHands;
use super::{ANY_PORT, TestLedger};

/// A server and what it works with. What ends first stands first.
pub(crate) struct Served {
    pub(crate) server: HttpServer,
    pub(crate) hands: Arc<TestHands>,
    pub(crate) shelf: Arc<Shelf>,
    /// Nobody has looked yet.
    pub(crate) watch: Arc<Watch>,
    pub(crate) ledger: Ledger,
}

impl Served {
    pub(crate) fn new(place: &TestLedger, settings: HttpSettings, demo: Option<DemoIssuer>) -> Self {
        let ledger = place.open();
        let hands = TestHands::new(&ledger);
        let vault = Arc::clone(hands.engine.vault());
        let shelf = Arc::new(Shelf::new(&ledger, StoreKind::Sled));
        let watch = Watch::new(&ledger, &vault, &shelf);
        let options = HttpOptions {
            ledger: ledger.clone(),
            vault,
            shelf: Arc::clone(&shelf),
            watch: Arc::clone(&watch),
            hands: hands.clone(),
            settings,
            listen: ANY_PORT,
            secret: [8; 32],
            demo,
        };
        Self {
            server: HttpServer::open(options).unwrap(),
            hands,
            shelf,
            watch,
            ledger,
        }
    }
}

/// Limits on people and strangers that no test runs into.
pub(crate) fn wide_limits() -> LimitSettings {
    LimitSettings {
        customer_per_second: 100_000,
        stranger_per_second: 100_000,
        ..LimitSettings::default()
    }
}
