//! A customer's data in one look: who has it, what changed, whether it is in order, what the customer got for it.
//!
//! In scope: that page, also for somebody who was erased or of whom nothing is known. Out of scope: proof; the page
//! says that it is the company's word, and where to check it. Trust: the trail.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use sharetrail_schemas::{Kind, Timestamp};

use super::assets::{Icon, icon};
use super::layout::{Frame, Nav, error_page, page};
use super::parts::{Tone, day, notice, scrolling};
use super::sentence::{finding, tell};
use super::timeline::{address_of, filtered, headline};
use super::words::{self, Words, iso_day};
use crate::http::auth::PageCustomer;
use crate::http::reading::trail_of;
use crate::http::site::Site;
use crate::trail::{Received, Trail, TrailEvent, TrailGeneration};

/// How far back "what changed" looks from the newest event.
const SPAN_SECONDS: i64 = 30 * 86_400;
/// Things shown of each list; the rest is a link away.
const SHOWN: usize = 5;
/// Benefits shown, whose texts may be long.
const BENEFITS_SHOWN: usize = 3;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/me", get(overview))
}

async fn overview(State(site): State<Site>, PageCustomer(customer): PageCustomer) -> Response {
    let words = words::english();
    let trail = match trail_of(&site, &customer.id).await {
        Ok(trail) => trail,
        Err(problem) => return error_page(&site, Some(&customer.person), &problem),
    };
    let frame = Frame {
        site: &site,
        person: Some(&customer.person),
        title: words.common.navigation.overview,
        active: Nav::Overview,
        scripts: &[],
    };
    let company = site.settings.company_name(&site.ledger);
    page(&frame, &content(&trail, company, words))
}

fn content(trail: &Trail, company: &str, words: &Words) -> Markup {
    let is_erased = |generation: &TrailGeneration| generation.erased_at.is_some();
    match trail.generations.last() {
        Some(last) if is_erased(last) => erased(trail, last, words),
        _ if trail.events.is_empty() && trail.unopened.is_empty() => nothing(company, words),
        _ => standing(trail, company, words),
    }
}

fn standing(trail: &Trail, company: &str, words: &Words) -> Markup {
    let texts = words.overview;
    html! {
        div.stack {
            h1 { (texts.heading) }
            p.lead { ((texts.lead)(company)) }
            (checks(trail, words))
            div.cards {
                (holders(trail, words))
                (changes(trail, words))
                (benefits(trail, words))
            }
            div.grid-2 {
                (recent(trail, words))
                (categories(trail, words))
            }
            (downloads(words))
            (earlier_erasures(trail, words))
        }
    }
}

/// Whether all is in order, as far as the trail tells; and that this is not proof.
fn checks(trail: &Trail, words: &Words) -> Markup {
    let texts = &words.overview.checks;
    let totals = trail.totals();
    let (tone, title) = if totals.findings == 0 && totals.unreadable == 0 {
        (Tone::Good, texts.good_title.to_owned())
    } else {
        let count = totals.findings.saturating_add(totals.unreadable);
        (Tone::Bad, (texts.bad_title)(count, &words.number(count)))
    };
    let body = html! {
        div.stack {
            h2 { (title) }
            @if tone == Tone::Good {
                p { (texts.good) }
            } @else {
                (out_of_order(trail, words))
                p { (texts.advice) }
                p.actions {
                    a.btn href="/me/requests" { (texts.object) }
                    @if totals.findings > 0 {
                        a.btn.btn-quiet href=(filtered("findings", "only")) { (texts.findings) }
                    }
                }
            }
            p { (texts.whose_word) " " a href="/me/proof" { (texts.proof) } "." }
        }
    };
    html! {
        section aria-label=(texts.heading) { (notice(words, tone, &body)) }
    }
}

fn out_of_order(trail: &Trail, words: &Words) -> Markup {
    let texts = &words.overview.checks;
    let unreadable = trail.totals().unreadable;
    let found: Vec<_> = trail
        .events
        .iter()
        .rev()
        .flat_map(|event| event.findings.iter().map(move |found| (event, found)))
        .collect();
    let further = count(found.len().saturating_sub(SHOWN));
    html! {
        ul {
            @for (event, found) in found.iter().take(SHOWN) {
                li {
                    a href=(address_of(trail, event)) { (day(words, event.time)) } ": "
                    (tell(event, words).sentence()) " " b { (finding(event, found, words)) }
                }
            }
            @if further > 0 { li { ((texts.further)(further, &words.number(further))) } }
            @if unreadable > 0 {
                li { ((texts.unreadable)(unreadable, &words.number(unreadable))) }
            }
        }
    }
}

fn holders(trail: &Trail, words: &Words) -> Markup {
    let texts = &words.overview.holders;
    let recipients = trail.recipients();
    let newest = recipients.iter().max_by_key(|recipient| recipient.first);
    let told = |number: u64| {
        let noun = &texts.organisations;
        if number == 1 { noun.one } else { noun.many }
    };
    html! {
        section.card {
            h2 { (icon(Icon::People)) (texts.heading) }
            p {
                span.card-number { (words.number(count(recipients.len()))) } " "
                (told(count(recipients.len())))
            }
            @if let Some(newest) = newest {
                p { ((texts.newest)(&newest.name, &words.day(newest.first))) }
            } @else {
                p { (texts.none) }
            }
            @if trail.totals().unreadable > 0 { p.muted { (texts.unknown) } }
            p.card-more { a href="/me/sharing" { (texts.more) } }
        }
    }
}

fn changes(trail: &Trail, words: &Words) -> Markup {
    let texts = &words.overview.changes;
    let Some(newest) = trail.events.last() else {
        return Markup::default();
    };
    let since = Timestamp::from_unix(newest.time.seconds().saturating_sub(SPAN_SECONDS));
    let late: Vec<&TrailEvent> = trail.events.iter().filter(|event| event.time > since).collect();
    let received = trail.received();
    let disclosures = received
        .iter()
        .filter(|event| event.time > since)
        .map(Received::disclosures)
        .fold(0, u64::saturating_add);
    let recipients = trail.recipients();
    let first = recipients.iter().filter(|recipient| recipient.first > since);
    let consents = late.iter().filter(|event| is_choice(event.kind));
    let all = [
        (disclosures, &texts.disclosures),
        (count(first.count()), &texts.organisations),
        (count(consents.count()), &texts.consents),
    ];
    html! {
        section.card {
            h2 { (icon(Icon::Clock)) (texts.heading) }
            p {
                span.card-number { (words.number(count(late.len()))) } " "
                (if late.len() == 1 { words.common.events.one } else { words.common.events.many })
            }
            p.muted { ((texts.span)(&words.day(newest.time))) }
            ul {
                @for (number, noun) in all {
                    @if number > 0 { li { (words.counted(number, noun)) } }
                }
            }
            p.card-more { a href=(filtered("from", &iso_day(since))) { (texts.more) } }
        }
    }
}

fn is_choice(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ConsentGiven
            | Kind::ConsentRefused
            | Kind::ConsentWithdrawn
            | Kind::ConsentExpired
            | Kind::PreferenceChanged
    )
}

fn benefits(trail: &Trail, words: &Words) -> Markup {
    let texts = &words.overview.benefits;
    let events = trail.events.iter().rev();
    let got: Vec<(&TrailEvent, &str)> = events
        .filter_map(|event| Some((event, event.benefit.as_deref()?)))
        .collect();
    html! {
        section.card {
            h2 { (icon(Icon::Gift)) (texts.heading) }
            @if got.is_empty() {
                p { (texts.none) }
            } @else {
                ul.plain {
                    @for (event, benefit) in got.iter().take(BENEFITS_SHOWN) {
                        li { b { (benefit) } " " a href=(address_of(trail, event)) { (day(words, event.time)) } }
                    }
                }
            }
            @if got.len() > BENEFITS_SHOWN { p.muted { ((texts.further)(&words.number(count(got.len())))) } }
        }
    }
}

fn recent(trail: &Trail, words: &Words) -> Markup {
    let texts = words.overview;
    html! {
        section.stack aria-labelledby="recent" {
            h2 #recent { (texts.recent) }
            ol.timeline {
                @for event in trail.events.iter().rev().take(SHOWN) { li.event { (headline(event, words)) } }
            }
            p { a href="/me/timeline" { (texts.recent_all) } }
        }
    }
}

fn categories(trail: &Trail, words: &Words) -> Markup {
    let texts = &words.overview.categories;
    let mut all = trail.categories();
    all.sort_by_key(|one| std::cmp::Reverse((one.disclosures, one.events)));
    let table = html! {
        table {
            caption.visually-hidden { (texts.caption) }
            thead {
                tr {
                    th scope="col" { (texts.category) }
                    th.number scope="col" { (texts.events) }
                    th.number scope="col" { (texts.disclosures) }
                }
            }
            tbody {
                @for one in &all {
                    tr {
                        th scope="row" {
                            a href=(filtered("category", &one.category)) { (words.term(&one.category)) }
                        }
                        td.number { (words.number(one.events)) }
                        td.number { (words.number(one.disclosures)) }
                    }
                }
            }
        }
    };
    html! {
        section.stack aria-labelledby="categories" {
            h2 #categories { (texts.heading) }
            @if all.is_empty() { p { (texts.none) } } @else { (scrolling(texts.caption, &table)) }
        }
    }
}

fn downloads(words: &Words) -> Markup {
    let texts = &words.overview.downloads;
    let files = [
        ("dossier.json", texts.dossier, texts.dossier_about),
        ("trail.csv", texts.csv, texts.csv_about),
        ("trail.json", texts.json, texts.json_about),
    ];
    html! {
        section.card aria-labelledby="downloads" {
            h2 #downloads { (icon(Icon::Download)) (texts.heading) }
            ul.plain.downloads {
                @for (file, name, about) in files {
                    li {
                        a.btn.btn-quiet href={ "/me/download/" (file) } download { (name) }
                        span { (about) }
                    }
                }
                li {
                    a.btn.btn-quiet href="/me/download/report" { (texts.report) }
                    span { (texts.report_about) }
                }
            }
        }
    }
}

/// For somebody of whom something is known again.
fn earlier_erasures(trail: &Trail, words: &Words) -> Markup {
    let texts = &words.overview.erased;
    let erased: Vec<_> = trail
        .generations
        .iter()
        .filter(|one| one.erased_at.is_some())
        .collect();
    html! {
        @if !erased.is_empty() {
            section.stack {
                p { (texts.earlier) }
                @for generation in erased { (certificate(generation, words)) }
            }
        }
    }
}

fn certificate(generation: &TrailGeneration, words: &Words) -> Markup {
    let texts = &words.overview.erased;
    let told = match generation.erased_by {
        Some(by) => (texts.by)(&words.day(by)),
        None => texts.undated.to_owned(),
    };
    html! {
        p { (told) }
        p.actions {
            a.btn.btn-quiet href={ "/me/download/certificate-" (generation.generation) ".json" } download {
                (texts.certificate)
            }
        }
    }
}

fn erased(trail: &Trail, last: &TrailGeneration, words: &Words) -> Markup {
    let texts = &words.overview.erased;
    let events = words.counted(last.events, &words.common.events);
    let before = trail.generations.iter().rev().skip(1);
    html! {
        div.stack.narrow {
            h1 { (texts.heading) }
            div.card.stack {
                (certificate(last, words))
                p { ((texts.left)(&events)) }
                p.muted { (texts.proof) }
            }
            @for generation in before.filter(|one| one.erased_at.is_some()) {
                div.card { (certificate(generation, words)) }
            }
            (dossier(words))
        }
    }
}

fn nothing(company: &str, words: &Words) -> Markup {
    let texts = &words.overview.nothing;
    html! {
        div.stack.narrow {
            h1 { (texts.heading) }
            p.lead { ((texts.text)(company)) }
            p { (texts.proof) }
            (dossier(words))
        }
    }
}

fn dossier(words: &Words) -> Markup {
    html! {
        p.actions {
            a.btn href="/me/download/dossier.json" download { (words.overview.downloads.dossier) }
            a.btn.btn-quiet href="/me/proof" { (words.overview.checks.proof) }
        }
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::hash::LeafIndex;
    use sharetrail_proof::name::Label;

    use super::super::layout::tests::check_main;
    use super::super::parts::samples::{MARKUP, check_escaped, event, shared, trail};
    use super::*;
    use crate::trail::{Finding, NoConsent};

    fn shown(trail: &Trail) -> String {
        let main = content(trail, "The Shop", words::english());
        check_main(&main);
        main.into_string()
    }

    fn generation(number: u32, erased_by: Option<&str>) -> TrailGeneration {
        TrailGeneration {
            generation: number,
            label: Label([7; 32]),
            shard: 0,
            events: 3,
            erased_at: erased_by.map(|_| LeafIndex(9)),
            erased_by: erased_by.and_then(|time| time.parse().ok()),
        }
    }

    #[test]
    fn one_look_tells_who_what_and_whether() {
        let mut gift = event(Kind::DataCollected, "basket", 20);
        gift.benefit = Some("1.80 off".to_owned());
        let html = shown(&trail(vec![
            shared("old", 1, "mail.example", &["pd:Name"]),
            shared("new", 12, "print.example", &["pd:Name", "pd:Purchase"]),
            gift,
        ]));
        assert!(html.contains("<span class=\"card-number\">2</span>"));
        assert!(html.contains("The newest is The print.example, since 12 January 2026."));
        assert!(html.contains("notice-good") && !html.contains("notice-bad"));
        assert!(html.contains("<b>1.80 off</b>"));
        assert!(html.contains("/me/timeline?category=pd%3APurchase"));
        for link in [
            "/me/proof",
            "/me/sharing",
            "/me/timeline",
            "/me/download/dossier.json",
        ] {
            assert!(html.contains(&format!("href=\"{link}\"")), "{link}");
        }
    }

    /// The fault: a page that says all is well beside a finding, or an event that does not open.
    #[test]
    fn what_is_not_in_order_stands_first() {
        let mut late = shared("late", 3, "mail.example", &["pd:Name"]);
        let why = NoConsent::Refused;
        late.findings = vec![Finding::WithoutConsent { why }.into()];
        late.description = Some(MARKUP.to_owned());
        late.recipient.as_mut().unwrap().name = MARKUP.to_owned();
        let html = shown(&trail(vec![late]));
        assert!(html.contains("1 thing on record is not in order") && !html.contains("notice-good"));
        assert!(html.contains("href=\"/me/timeline#event-0-3\""));
        check_escaped(&html);
    }

    #[test]
    fn of_many_findings_the_newest_are_told() {
        let why = NoConsent::NoneOnRecord;
        let findings = vec![Finding::WithoutConsent { why }.into()];
        let events = (1..=8).map(|number| TrailEvent {
            findings: findings.clone(),
            ..shared("x", number, "mail.example", &["pd:Name"])
        });
        let html = shown(&trail(events.collect()));
        assert!(html.contains("8 things on record are not in order") && html.contains("And 3 more."));
    }

    #[test]
    fn an_erased_customer_is_told_when_and_given_the_certificate() {
        let mut told = trail(Vec::new());
        told.generations = vec![generation(0, Some("2026-02-03T04:05:06Z"))];
        let html = shown(&told);
        assert!(html.contains("3 February 2026") && html.contains("/me/download/certificate-0.json"));
        // Somebody who came back sees what came after, and that something went before.
        told.generations.push(generation(1, None));
        told.events = vec![shared("one", 1, "mail.example", &["pd:Name"])];
        let html = shown(&told);
        assert!(html.contains("card-number") && html.contains("/me/download/certificate-0.json"));
    }

    #[test]
    fn of_whom_nothing_is_known_gets_the_proof_of_it() {
        let html = shown(&trail(Vec::new()));
        assert!(html.contains("Nothing is on record about you"));
        assert!(html.contains("/me/download/dossier.json"));
    }

    /// The fault: "the last 30 days" counts from today, so that a demo of last year shows nothing.
    #[test]
    fn changes_are_counted_back_from_the_newest_event() {
        let mut events = vec![shared("old", 1, "mail.example", &["pd:Name"])];
        events.extend([40, 41].map(|number| shared("new", number, "print.example", &["pd:Name"])));
        let html = changes(&trail(events), words::english()).into_string();
        assert!(html.contains("<span class=\"card-number\">2</span> events"));
        assert!(html.contains("2 times data went out"));
        assert!(html.contains("1 organisation received data for the first time"));
    }
}
