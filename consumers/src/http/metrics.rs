//! What is counted, for Prometheus.
//!
//! In scope: the numbers and their names. Out of scope: who may read them (`health`). Trust: nothing of a request
//! becomes a label but the template of the route it met, which is ours: no path, no id, no number of labels that a
//! stranger chooses.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds.
const DURATIONS: [f64; 14] = [
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShardLabels {
    shard: u32,
}

/// What is counted; clones count together.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    connections: Gauge,
    streams: Gauge,
    events: Family<OutcomeLabels, Counter>,
    decisions: Family<OutcomeLabels, Counter>,
    findings: Gauge,
    sizes: Family<ShardLabels, Gauge>,
    lags: Family<ShardLabels, Gauge>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("sharetrail");
        let requests: Family<RequestLabels, Counter> = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let durations: Family<RouteLabels, Histogram> =
            Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register(
            "http_request_duration_seconds",
            "Seconds until an answer begins",
            durations.clone(),
        );
        let connections: Gauge = Gauge::default();
        registry.register(
            "http_connections",
            "Connections at this moment",
            connections.clone(),
        );
        let streams: Gauge = Gauge::default();
        registry.register(
            "http_streams",
            "Streams of server-sent events at this moment",
            streams.clone(),
        );
        let events: Family<OutcomeLabels, Counter> = Family::default();
        registry.register(
            "events",
            "Events that were handed in, by what became of them",
            events.clone(),
        );
        let decisions: Family<OutcomeLabels, Counter> = Family::default();
        registry.register(
            "authorize_decisions",
            "Decisions whether data may be shared",
            decisions.clone(),
        );
        let findings: Gauge = Gauge::default();
        registry.register(
            "findings",
            "Findings that an officer should look at",
            findings.clone(),
        );
        let sizes: Family<ShardLabels, Gauge> = Family::default();
        registry.register(
            "log_leaves",
            "Leaves under the published checkpoint",
            sizes.clone(),
        );
        let lags: Family<ShardLabels, Gauge> = Family::default();
        registry.register(
            "projection_lag_leaves",
            "Leaves under the published checkpoint that are not folded",
            lags.clone(),
        );
        Self {
            registry: Arc::new(registry),
            requests,
            durations,
            connections,
            streams,
            events,
            decisions,
            findings,
            sizes,
            lags,
        }
    }

    /// A request was answered. `route`: the template that it met.
    pub(super) fn answered(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let labels = RequestLabels {
            route: route.to_owned(),
            method: method_label(method),
            status: class_of(status),
        };
        self.requests.get_or_create(&labels).inc();
        let RequestLabels { route, .. } = labels;
        let durations = self.durations.get_or_create(&RouteLabels { route });
        durations.observe(took.as_secs_f64());
    }

    /// Counts a connection for as long as this is kept.
    pub(super) fn connection(&self) -> Counted {
        Counted::new(&self.connections)
    }

    /// Counts a stream of server-sent events for as long as this is kept.
    pub(super) fn stream(&self) -> Counted {
        Counted::new(&self.streams)
    }

    /// What counts events that were handed in.
    pub(super) fn event_counts(&self) -> EventCounts {
        let of = |outcome| self.events.get_or_create_owned(&OutcomeLabels { outcome });
        EventCounts {
            accepted: of("accepted"),
            refused: of("refused"),
        }
    }

    /// It was decided whether data may be shared.
    pub(crate) fn decided(&self, is_allowed: bool) {
        let outcome = if is_allowed { "allowed" } else { "denied" };
        self.decisions.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(super) fn set_findings(&self, count: usize) {
        self.findings.set(gauged(count as u64));
    }

    /// `folded`: leaves of the shard that are folded, where that is known.
    pub(super) fn set_shard(&self, shard: u32, size: u64, folded: Option<u64>) {
        let labels = ShardLabels { shard };
        self.sizes.get_or_create(&labels).set(gauged(size));
        if let Some(folded) = folded {
            let lag = gauged(size.saturating_sub(folded));
            self.lags.get_or_create(&labels).set(lag);
        }
    }

    /// Everything, as `OpenMetrics` text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a text grows for as long as there is memory");
        text
    }
}

fn histogram() -> Histogram {
    Histogram::new(DURATIONS)
}

fn gauged(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A method's name; a stranger can make up as many as they like.
pub(super) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// Counts events.
#[derive(Clone)]
pub(super) struct EventCounts {
    accepted: Counter,
    refused: Counter,
}

impl EventCounts {
    /// An event was accepted, or refused.
    pub(super) fn count(&self, is_accepted: bool) {
        let counter = if is_accepted {
            &self.accepted
        } else {
            &self.refused
        };
        counter.inc();
    }
}

/// Something that is counted for as long as it is kept.
pub(super) struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault: a name that a dashboard reads is another, or what has gone is still counted.
    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::new();
        let took = Duration::from_millis(3);
        metrics.answered("/v1/me/trail", &Method::GET, StatusCode::OK, took);
        metrics.answered(
            "none",
            &Method::from_bytes(b"BREW").unwrap(),
            StatusCode::NOT_FOUND,
            took,
        );
        for is_accepted in [true, false, true, true] {
            metrics.event_counts().count(is_accepted);
        }
        metrics.decided(true);
        metrics.set_findings(4);
        metrics.set_shard(1, 10, Some(7));
        let kept = metrics.connection();
        drop(metrics.connection());
        drop(metrics.stream());
        let text = metrics.text();
        for line in [
            "sharetrail_http_requests_total{route=\"/v1/me/trail\",method=\"GET\",status=\"2xx\"} 1",
            "sharetrail_http_requests_total{route=\"none\",method=\"other\",status=\"4xx\"} 1",
            "sharetrail_http_request_duration_seconds_count{route=\"/v1/me/trail\"} 1",
            "sharetrail_events_total{outcome=\"accepted\"} 3",
            "sharetrail_events_total{outcome=\"refused\"} 1",
            "sharetrail_authorize_decisions_total{outcome=\"allowed\"} 1",
            "sharetrail_findings 4",
            "sharetrail_log_leaves{shard=\"1\"} 10",
            "sharetrail_projection_lag_leaves{shard=\"1\"} 3",
            "sharetrail_http_connections 1",
            "sharetrail_http_streams 0",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line}\nis not in\n{text}"
            );
        }
        assert!(text.ends_with("# EOF\n"));
        drop(kept);
    }
}
