//! What requests are answered from.
//!
//! In scope: the parts, which live as long as the server; doing what waits on a thread that may. Out of scope: what
//! each part does. Trust: none is asked for here.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use sharetrail_ledger::{Ledger, Vault};
use tokio::sync::Semaphore;

use super::api::Idempotency;
use super::auth::Auth;
use super::demo::DemoIssuer;
use super::hands::{Counting, Hands};
use super::limits::Limits;
use super::metrics::Metrics;
use super::problem::Problem;
use super::reading::Trails;
use super::settings::HttpSettings;
use super::streams::Streams;
use crate::choices::Authorizer;
use crate::error::ConsumerError;
use crate::shelf::Shelf;
use crate::watch::Watch;

/// What a server is opened with.
pub struct HttpOptions {
    /// The ledger.
    pub ledger: Ledger,
    /// Its vault.
    pub vault: Arc<Vault>,
    /// Its projections.
    pub shelf: Arc<Shelf>,
    /// What an officer sees; somebody calls [`Watch::look`] beside the server.
    pub watch: Arc<Watch>,
    /// What records and erases.
    pub hands: Arc<dyn Hands>,
    /// What `http.toml` says.
    pub settings: HttpSettings,
    /// Where to listen.
    pub listen: SocketAddr,
    /// What the ledger's hosts share.
    pub secret: [u8; 32],
    /// A provider to sign in at without being anybody; for the demo alone.
    pub demo: Option<DemoIssuer>,
}

/// What requests are answered from; cheap to clone.
#[derive(Clone)]
pub(crate) struct Site(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) ledger: Ledger,
    pub(crate) vault: Arc<Vault>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) authorizer: Authorizer,
    pub(crate) watch: Arc<Watch>,
    pub(crate) hands: Arc<dyn Hands>,
    pub(crate) settings: HttpSettings,
    pub(crate) auth: Auth,
    pub(crate) idempotency: Idempotency,
    pub(crate) trails: Trails,
    pub(crate) streams: Streams,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    /// Whether everybody may be anybody here: the server was opened with a [`DemoIssuer`].
    pub(crate) is_demo: bool,
    /// How browsers reach the server, without a slash at the end; set once it listens.
    pub(crate) url: OnceLock<String>,
    /// One look at how far everything is, at a time.
    pub(super) look: Arc<Semaphore>,
}

impl Site {
    /// Puts the parts together. Where to listen, the secret and the demo's provider are the server's affair.
    pub(crate) fn new(options: HttpOptions, is_demo: bool) -> Result<Self, ConsumerError> {
        let HttpOptions {
            ledger,
            vault,
            shelf,
            watch,
            hands,
            settings,
            ..
        } = options;
        let metrics = Metrics::new();
        let counts = metrics.event_counts();
        Ok(Self(Arc::new(Parts {
            authorizer: Authorizer::new(&ledger, &vault, &shelf),
            auth: Auth::new(&settings, &ledger)?,
            limits: Limits::new(&settings.limits),
            ledger,
            vault,
            shelf,
            watch,
            hands: Arc::new(Counting { hands, counts }),
            settings,
            idempotency: Idempotency::default(),
            trails: Trails::default(),
            streams: Streams::default(),
            metrics,
            is_demo,
            url: OnceLock::new(),
            look: Arc::new(Semaphore::new(1)),
        })))
    }
}

impl Deref for Site {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Does what reads files, on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // It panicked, which was told where it happened, or the server is about to end.
        Err(error) => Err(Problem::failed(&error)),
    }
}
