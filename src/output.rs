//! Printing: pages for people, JSON for machines, notes and errors.
//!
//! In scope: colour, wrapping, numbers, what happens when nobody reads. Out of scope: what is said.
//! Trust: texts out of contents and dossiers are untrusted; what could steer a terminal is replaced before it is shown.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Context;
use serde::Serialize;
use serde_json::json;

const WIDTH: usize = 100;

/// Colour, where it is wanted: on a terminal, without `NO_COLOR`.
#[derive(Clone, Copy)]
pub(crate) struct Ink(bool);

impl Ink {
    fn on(stream: &impl IsTerminal) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self(stream.is_terminal() && !no_colour && !is_dumb)
    }

    fn paint(self, style: Style, text: &str) -> String {
        match style.code() {
            Some(code) if self.0 && !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// How a piece of text looks.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    /// As it is.
    Plain,
    /// Headings.
    Bold,
    /// What can be passed over.
    Dim,
    /// What holds.
    Green,
    /// What is to be known.
    Yellow,
    /// What is wrong.
    Red,
}

impl Style {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Green => Some("32"),
            Self::Yellow => Some("33"),
            Self::Red => Some("31"),
        }
    }
}

/// Where a command prints to.
pub(crate) struct Output {
    /// Whether machines read it.
    pub(crate) json: bool,
    ink: Ink,
}

impl Output {
    /// The standard output.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            ink: Ink::on(&io::stdout()),
        }
    }

    /// Prints `value` for machines, or the page that `write` fills for people.
    pub(crate) fn give(&self, value: &impl Serialize, write: impl FnOnce(&mut Page)) -> anyhow::Result<()> {
        if self.json {
            let mut text = serde_json::to_string_pretty(value).context("cannot write the answer as JSON")?;
            text.push('\n');
            return print(&text);
        }
        self.tell(write)
    }

    /// Prints a page for people, and nothing for machines.
    pub(crate) fn tell(&self, write: impl FnOnce(&mut Page)) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        let mut page = Page {
            ink: self.ink,
            text: String::new(),
        };
        write(&mut page);
        print(&page.text)
    }

    /// Prints an error, one line.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let text = sentence(error);
        let line = if self.json {
            json!({ "error": text }).to_string()
        } else {
            let mark = Ink::on(&io::stderr()).paint(Style::Red, "error:");
            format!("{mark} {}", clean(&text).replace('\n', " "))
        };
        // Where the standard error is gone, there is nobody to tell.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// Tells, beside the answer, what was found and healed.
pub(crate) fn note(text: &str) {
    // Where the standard error is gone, there is nobody to tell.
    let _ = writeln!(io::stderr(), "note: {}", on_one_line(text));
}

/// A reader that went away, such as `head`, has all that it wanted.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to the standard output")
        }
        _ => Ok(()),
    }
}

/// The error and those of its causes that it does not quote itself.
fn sentence(error: &anyhow::Error) -> String {
    error
        .chain()
        .skip(1)
        .map(ToString::to_string)
        .fold(error.to_string(), |text, cause| {
            if text.contains(&cause) {
                text
            } else {
                format!("{text}: {cause}")
            }
        })
}

/// Text for people in the making, line by line.
pub(crate) struct Page {
    ink: Ink,
    text: String,
}

impl Page {
    /// An empty line.
    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A heading.
    pub(crate) fn heading(&mut self, text: &str) {
        self.text_at(0, Style::Bold, text);
    }

    /// A text that starts at `indent` and is wrapped there.
    pub(crate) fn text(&mut self, indent: usize, text: &str) {
        self.text_at(indent, Style::Plain, text);
    }

    /// As [`Page::text`], in a style.
    pub(crate) fn text_at(&mut self, indent: usize, style: Style, text: &str) {
        self.hanging(&" ".repeat(indent), indent, style, text);
    }

    /// A line of its own, never wrapped: a command to copy, a path.
    pub(crate) fn verbatim(&mut self, indent: usize, text: &str) {
        self.text.push_str(&" ".repeat(indent));
        self.text.push_str(&clean(text));
        self.text.push('\n');
    }

    /// Something that holds.
    pub(crate) fn holds(&mut self, text: &str) {
        self.marked(0, Style::Green, "✓", Style::Plain, text);
    }

    /// Something that does not.
    pub(crate) fn fails(&mut self, indent: usize, text: &str) {
        self.marked(indent, Style::Red, "✗", Style::Red, text);
    }

    /// Something to know.
    pub(crate) fn warns(&mut self, indent: usize, text: &str) {
        self.marked(indent, Style::Yellow, "!", Style::Plain, text);
    }

    /// A named value.
    pub(crate) fn field(&mut self, indent: usize, name: &str, value: &str) {
        let name = format!("{name:<9} ");
        let width = indent + name.chars().count();
        let head = format!("{}{}", " ".repeat(indent), self.ink.paint(Style::Dim, &name));
        self.hanging(&head, width, Style::Plain, value);
    }

    /// What happened on a date; `aside` is less important.
    pub(crate) fn dated(&mut self, date: &str, text: &str, aside: &str) {
        let (text, aside) = (on_one_line(text), on_one_line(aside));
        let head = format!("{} ", self.ink.paint(Style::Dim, &clean(date)));
        let fits = date.chars().count() + text.chars().count() + aside.chars().count() + 3 <= WIDTH;
        if !fits {
            return self.hanging(&head, date.chars().count() + 1, Style::Bold, &text);
        }
        let (text, aside) = (
            self.ink.paint(Style::Bold, &text),
            self.ink.paint(Style::Dim, &aside),
        );
        self.text.push_str(format!("{head}{text}  {aside}").trim_end());
        self.text.push('\n');
    }

    fn marked(&mut self, indent: usize, mark_style: Style, mark: &str, style: Style, text: &str) {
        let head = format!("{}{} ", " ".repeat(indent), self.ink.paint(mark_style, mark));
        self.hanging(&head, indent + 2, style, text);
    }

    /// `head` takes `width` columns; the lines below the first start where it ends.
    fn hanging(&mut self, head: &str, width: usize, style: Style, text: &str) {
        for (number, line) in wrap(&clean(text), WIDTH.saturating_sub(width)).iter().enumerate() {
            let start = if number == 0 {
                head.to_owned()
            } else {
                " ".repeat(width)
            };
            self.text.push_str(&start);
            self.text.push_str(&self.ink.paint(style, line));
            self.text.push('\n');
        }
    }
}

/// The words of `text` in lines of at most `width` characters; a longer word has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let is_full = line.chars().count() + 1 + word.chars().count() > width;
        if line.is_empty() {
            line.push_str(word);
        } else if is_full {
            lines.push(word.to_owned());
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines
}

/// The text, clean and without line feeds: a text out of a content must not look like the line after it.
fn on_one_line(text: &str) -> String {
    let text = clean(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// The text without what steers a terminal, cannot be seen, or turns the direction of writing.
pub(crate) fn clean(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.chars()
        .map(|c| if turns(c) || steers(c) { '\u{fffd}' } else { c })
        .collect()
}

/// A number with separators of thousands.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something: `1 event`, `2,000 leaves`, `3 batches`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let nouns = match noun {
        _ if count == 1 => noun.to_owned(),
        "leaf" => "leaves".to_owned(),
        _ if noun.ends_with("ch") => format!("{noun}es"),
        _ => format!("{noun}s"),
    };
    format!("{} {nouns}", number(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (given, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (167_809, "167,809"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(number(given), expected);
        }
        assert_eq!(counted(1, "event"), "1 event");
        assert_eq!(counted(2, "batch"), "2 batches");
        assert_eq!(counted(0, "leaf"), "0 leaves");
    }

    #[test]
    fn lines_are_wrapped_between_words() {
        assert_eq!(wrap("a bb ccc dddd", 6), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrap("a verylongword b", 4), ["a", "verylongword", "b"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(clean("a\x1b[31mb\u{202e}c\nd"), "a\u{fffd}[31mb\u{fffd}c\nd");
    }

    /// The fault: a recipient whose name holds a line feed writes a line of its own into a customer's trail.
    #[test]
    fn a_text_does_not_look_like_the_line_after_it() {
        for length in [1, 2 * WIDTH] {
            let mut page = Page {
                ink: Ink(false),
                text: String::new(),
            };
            let text = format!("Shared with{}\n✓ Verified", " x".repeat(length));
            page.dated("2026-01-31", &text, "leaf 3");
            assert!(
                page.text.lines().all(|line| !line.starts_with('✓')),
                "{}",
                page.text
            );
        }
    }

    #[test]
    fn a_cause_is_told_once() {
        let told = anyhow::anyhow!("no space").context("cannot write x: no space");
        assert_eq!(sentence(&told), "cannot write x: no space");
        let untold = anyhow::anyhow!("no space").context("cannot write x");
        assert_eq!(sentence(&untold), "cannot write x: no space");
    }
}
