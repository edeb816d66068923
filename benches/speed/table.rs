//! The table of results.
//!
//! In scope: rows with a value and the floor it stands beside. Out of scope: judging them.

use serde::Serialize;

/// One result.
#[derive(Serialize)]
pub(crate) struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    floor: Option<f64>,
    /// How much of the floor's speed is reached: 1 is the floor itself.
    of_floor: Option<f64>,
    note: String,
}

/// All results.
#[derive(Default, Serialize)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// A speed: more is better.
    pub(crate) fn speed(&mut self, what: &str, per_second: f64, floor: Option<f64>, note: impl Into<String>) {
        let of_floor = floor.map(|floor| per_second / floor);
        self.rows.push(Row {
            what: what.into(),
            value: per_second,
            unit: "per s",
            floor,
            of_floor,
            note: note.into(),
        });
    }

    /// A time: less is better.
    pub(crate) fn millis(&mut self, what: &str, millis: f64, floor: Option<f64>, note: impl Into<String>) {
        let of_floor = floor.map(|floor| floor / millis);
        self.rows.push(Row {
            what: what.into(),
            value: millis,
            unit: "ms",
            floor,
            of_floor,
            note: note.into(),
        });
    }

    pub(crate) fn print(&self, as_json: bool) {
        if as_json {
            println!(
                "{}",
                serde_json::to_string_pretty(self).expect("numbers and strings always serialise")
            );
            return;
        }
        println!(
            "{:<34} {:>12} {:<6} {:>12} {:>9}  note",
            "what", "measured", "", "floor", "of floor"
        );
        for row in &self.rows {
            let number = |value: f64| {
                if value >= 1_000.0 {
                    format!("{value:.0}")
                } else {
                    format!("{value:.2}")
                }
            };
            let floor = row.floor.map_or_else(|| "-".into(), number);
            let of_floor = row
                .of_floor
                .map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"));
            println!(
                "{:<34} {:>12} {:<6} {floor:>12} {of_floor:>9}  {}",
                row.what,
                number(row.value),
                row.unit,
                row.note
            );
        }
    }
}
