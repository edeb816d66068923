//! Which events of a trail are asked for.
//!
//! In scope: reading a filter, whether an event fits it, writing it as a query again. Out of scope: order and pages (see
//! `paging`). Trust: what is given is a stranger's. A filter only ever leaves out events of whoever asks.

use sharetrail_schemas::{Kind, Timestamp, short_form};
use url::form_urlencoded;

use super::given::Given;
use crate::trail::TrailEvent;

const DAY_SECONDS: i64 = 86_400;

/// What must hold of an event for it to be shown; what is not given holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrailFilter {
    /// The recipient's id.
    pub(crate) recipient: Option<String>,
    /// A purpose, in short form.
    pub(crate) purpose: Option<String>,
    /// A category of data, in short form.
    pub(crate) category: Option<String>,
    /// The kind of event.
    pub(crate) kind: Option<Kind>,
    /// The recipient's country, or the one the data went to.
    pub(crate) country: Option<String>,
    /// What happened before is left out.
    pub(crate) from: Option<Moment>,
    /// What happened after is left out.
    pub(crate) to: Option<Moment>,
}

/// A point in time, or a whole day of UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    text: String,
    start: Timestamp,
    is_day: bool,
}

impl Moment {
    /// An RFC 3339 time or a date.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // An offset's plus sign is a space in a query where nobody escaped it.
        let time = text.replace(' ', "+");
        let whole = |start, is_day| Self {
            text: time.clone(),
            start,
            is_day,
        };
        if let Ok(start) = time.parse::<Timestamp>() {
            return Ok(whole(start, false));
        }
        match format!("{time}T00:00:00Z").parse::<Timestamp>() {
            Ok(start) => Ok(whole(start, true)),
            Err(_) => {
                Err("it is neither a date such as 2026-01-31 nor a time such as 2026-01-31T12:00:00Z".into())
            }
        }
    }

    /// As it was given.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether `time` is before it, or before it begins.
    fn is_after(&self, time: Timestamp) -> bool {
        time < self.start
    }

    /// Whether `time` is after it, or after it has ended.
    fn is_before(&self, time: Timestamp) -> bool {
        if self.is_day {
            time.seconds() >= self.start.seconds().saturating_add(DAY_SECONDS)
        } else {
            time > self.start
        }
    }
}

impl TrailFilter {
    /// Takes the parameters of a filter out of a query.
    pub(crate) fn take(given: &mut Given) -> Self {
        let filter = Self {
            recipient: given.take("recipient"),
            purpose: given.take("purpose").map(|term| short_form(&term).into_owned()),
            category: given.take("category").map(|term| short_form(&term).into_owned()),
            kind: given.read("kind", kind),
            country: given.read("country", country),
            from: given.read("from", Moment::parse),
            to: given.read("to", Moment::parse),
        };
        if let (Some(from), Some(to)) = (&filter.from, &filter.to)
            && to.is_before(from.start)
        {
            given.refuse("from", "it is later than `to`");
        }
        filter
    }

    /// Whether an event fits. One that tells a series fits if any time from its first to its last does.
    pub(crate) fn matches(&self, event: &TrailEvent) -> bool {
        let (first, last) = event.span();
        let (first, last) = (first.min(event.time), last.max(event.time));
        let recipient = event.recipient.as_ref();
        let is_in =
            |wanted: Option<&String>, terms: &[String]| wanted.is_none_or(|wanted| terms.contains(wanted));
        let is_to = |id: &String| recipient.is_some_and(|recipient| recipient.id == *id);
        let is_abroad = |country: &String| {
            event.country.as_ref() == Some(country)
                || recipient.is_some_and(|recipient| recipient.country == *country)
        };
        self.kind.is_none_or(|kind| kind == event.kind)
            && self.recipient.as_ref().is_none_or(is_to)
            && is_in(self.purpose.as_ref(), &event.purposes)
            && is_in(self.category.as_ref(), &event.categories)
            && self.country.as_ref().is_none_or(is_abroad)
            && self.from.as_ref().is_none_or(|from| !from.is_after(last))
            && self.to.as_ref().is_none_or(|to| !to.is_before(first))
    }

    /// Whether everything fits.
    pub(crate) fn is_empty(&self) -> bool {
        self.pairs().is_empty()
    }

    /// What was given for a parameter, for a form that shows it again; nothing where it was left out.
    pub(crate) fn text(&self, name: &str) -> &str {
        let pairs = self.pairs();
        let found = pairs.into_iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }

    /// As a query, without a question mark: always the same for the same filter.
    pub(crate) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.pairs());
        query.finish()
    }

    fn pairs(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("recipient", self.recipient.as_deref()),
            ("purpose", self.purpose.as_deref()),
            ("category", self.category.as_deref()),
            ("kind", self.kind.map(Kind::name)),
            ("country", self.country.as_deref()),
            ("from", self.from.as_ref().map(Moment::text)),
            ("to", self.to.as_ref().map(Moment::text)),
        ];
        let given = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.collect()
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text).ok_or_else(|| "it is not a kind of event, such as data.shared".into())
}

fn country(text: &str) -> Result<String, String> {
    if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Ok(text.to_ascii_uppercase());
    }
    Err("it is not a country's two letters (ISO 3166-1), such as IE".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event at noon of a day of January.
    fn shared(day: u32, more: &str) -> TrailEvent {
        let json = format!(
            r#"{{"specversion":"1.0","id":"a","source":"https://shop.example/x","subject":"customer-42",
            "type":"org.sharetrail.data.shared.v1","time":"2026-01-{day:02}T12:00:00Z","data":{{
            "recipient":{{"id":"mail.example","name":"Mail house","role":"processor","country":"IE"}},
            "categories":["https://w3id.org/dpv/pd#Name"],"purposes":["dpv:Marketing"]{more}}}}}"#
        );
        TrailEvent::told(&json, 7)
    }

    fn fits(query: &str, event: &TrailEvent) -> bool {
        let mut given = Given::of(query);
        let filter = TrailFilter::take(&mut given);
        assert!(given.finish().is_ok(), "{query}");
        filter.matches(event)
    }

    /// The fault: a filter hides from customers what they asked to see.
    #[test]
    fn an_event_fits_if_all_that_is_asked_for_holds() {
        let event = shared(15, r#","country":"US""#);
        for query in [
            "",
            "recipient=mail.example",
            "category=pd:Name&purpose=dpv:Marketing",
            "kind=data.shared",
            "country=ie",
            "country=US",
            "from=2026-01-15&to=2026-01-15",
            "from=2026-01-15T12:00:00Z&to=2026-01-15T12:00:00Z",
        ] {
            assert!(fits(query, &event), "{query}");
        }
        for query in [
            "recipient=other.example",
            "recipient=mail.exampl",
            "category=pd:Email",
            "purpose=pd:Name",
            "kind=data.transferred",
            "country=DE",
            "from=2026-01-16",
            "to=2026-01-14",
            "from=2026-01-15T12:00:00.5Z",
            "recipient=mail.example&country=DE",
        ] {
            assert!(!fits(query, &event), "{query}");
        }
    }

    /// The fault: disclosures that are told as one event are found in the month they ended in alone.
    #[test]
    fn a_series_fits_any_time_from_its_first_to_its_last() {
        let series = r#","series":{"first":"2026-01-02T00:00:00Z","count":9,"last":"2026-01-20T00:00:00Z"}"#;
        let event = shared(25, series);
        for (query, expected) in [
            ("to=2026-01-01", false),
            ("to=2026-01-02", true),
            ("from=2026-01-10&to=2026-01-11", true),
            ("from=2026-01-25", true),
            ("from=2026-01-26", false),
        ] {
            assert_eq!(fits(query, &event), expected, "{query}");
        }
    }

    fn moment(text: &str) -> Moment {
        Moment::parse(text).unwrap()
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The fault: the last day that is asked for ends when it begins, or the next one is in it.
    #[test]
    fn a_day_lasts_until_the_next_one() {
        let day = moment("2026-01-31");
        for (text, is_after, is_before) in [
            ("2026-01-30T23:59:59.999Z", true, false),
            ("2026-01-31T00:00:00Z", false, false),
            ("2026-01-31T23:59:59.999999999Z", false, false),
            ("2026-02-01T00:00:00Z", false, true),
        ] {
            let is = (day.is_after(time(text)), day.is_before(time(text)));
            assert_eq!(is, (is_after, is_before), "{text}");
        }
        let exact = moment("2026-01-31T12:00:00+02:00");
        assert!(!exact.is_before(time("2026-01-31T10:00:00Z")));
        assert!(exact.is_before(time("2026-01-31T10:00:00.5Z")));
        // As it arrives where the plus sign was not escaped.
        assert_eq!(moment("2026-01-31T12:00:00 02:00"), exact);
        for text in [
            "",
            "2026",
            "2026-02-30",
            "31.1.2026",
            "2026-01-31T12",
            "2026-01-31T00:00:00Z\n",
        ] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }

    /// The fault: a page that follows is made with another filter than the one before, which its cursor refuses.
    #[test]
    fn a_filter_is_written_as_it_is_read() {
        let query = "recipient=mail.example&purpose=https%3A%2F%2Fw3id.org%2Fdpv%23Marketing&kind=data.shared&country=ie\
                     &from=2026-01-01&to=2026-01-31T12%3A00%3A00%2B02%3A00";
        let mut given = Given::of(query);
        let filter = TrailFilter::take(&mut given);
        assert!(given.finish().is_ok());
        assert_eq!(
            (filter.text("purpose"), filter.text("country")),
            ("dpv:Marketing", "IE")
        );
        assert_eq!(
            (filter.kind, filter.text("category")),
            (Some(Kind::DataShared), "")
        );
        let mut again = Given::of(&filter.query());
        assert_eq!(TrailFilter::take(&mut again), filter);
    }

    #[test]
    fn what_cannot_be_a_filter_is_told_by_name() {
        for (query, field) in [
            ("kind=data.shred", "kind"),
            ("country=IRL", "country"),
            ("from=yesterday", "from"),
            ("from=2026-02-01&to=2026-01-31", "from"),
            ("recipient=a&recipient=b", "recipient"),
        ] {
            let mut given = Given::of(query);
            TrailFilter::take(&mut given);
            let fields: Vec<&str> = given.faults().iter().map(|fault| fault.field.as_str()).collect();
            assert_eq!(fields, [field], "{query}");
        }
        let mut given = Given::of("from=2026-01-31T12:00:00Z&to=2026-01-31");
        TrailFilter::take(&mut given);
        assert!(given.faults().is_empty());
    }
}
