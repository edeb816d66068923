//! What is recorded: a file, or made-up events of a loyalty programme's shape.
//!
//! In scope: contents as bytes; a second set with other ids for the same customers. Out of scope: measuring.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Contents, one an event.
pub(crate) struct Input {
    pub(crate) contents: Vec<Vec<u8>>,
}

impl Input {
    /// One content a line of a file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        Ok(Self {
            contents: lines.map(<[u8]>::to_vec).collect(),
        })
    }

    /// `count` events of 2,500 customers.
    pub(crate) fn made_up(count: u32) -> Self {
        Self {
            contents: (0..count)
                .map(|number| event(number).to_string().into_bytes())
                .collect(),
        }
    }

    /// The same events under other ids.
    pub(crate) fn renamed(&self) -> Result<Self> {
        let rename = |content: &Vec<u8>| -> Result<Vec<u8>> {
            let mut event: Value = serde_json::from_slice(content)?;
            event["id"] = json!(format!("{}-again", event["id"].as_str().unwrap_or_default()));
            Ok(event.to_string().into_bytes())
        };
        Ok(Self {
            contents: self.contents.iter().map(rename).collect::<Result<_>>()?,
        })
    }

    pub(crate) fn len(&self) -> u64 {
        self.contents.len() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.contents.iter().map(|content| content.len() as u64).sum()
    }

    /// As a file would have it.
    pub(crate) fn lines(&self) -> Vec<u8> {
        self.contents.join(&b'\n')
    }
}

fn event(number: u32) -> Value {
    let customer = number.wrapping_mul(2_654_435_761) % 2_500;
    let day = number % 28 + 1;
    let (kind, source, data) = if number.is_multiple_of(25) {
        mailing(number, customer)
    } else {
        basket(number)
    };
    json!({"specversion": "1.0", "id": format!("{source}-{number}"), "source": format!("https://shop.example/{source}"),
        "type": format!("org.sharetrail.{kind}.v1"), "subject": format!("household-{customer}"),
        "time": format!("2017-03-{day:02}T10:00:00Z"), "data": data})
}

fn mailing(number: u32, customer: u32) -> (&'static str, &'static str, Value) {
    let recipient = json!({"id": "mailhouse-a.example", "name": "Campaign mail house A", "role": "processor",
        "country": "US", "contact": "privacy@mailhouse-a.example"});
    let data = json!({"recipient": recipient, "categories": ["pd:Name", "pd:PhysicalAddress"],
        "purposes": ["dpv:DirectMarketing"], "legal_basis": "eu-gdpr:A6-1-a",
        "consent": format!("enrol-{customer}"), "description": format!("address list of campaign {number}")});
    ("data.shared", "campaigns", data)
}

fn basket(number: u32) -> (&'static str, &'static str, Value) {
    let (items, spent, store) = (number % 40 + 1, f64::from(number % 9_999) / 100.0, number % 400);
    let data = json!({"categories": ["pd:Purchase", "pd:Location"], "purposes": ["dpv:ServiceProvision"],
        "legal_basis": "eu-gdpr:A6-1-b", "origin": "customer", "benefit": "1.20 off",
        "description": format!("basket of {items} items, {spent:.2} spent at store {store}")});
    ("data.collected", "checkout", data)
}
