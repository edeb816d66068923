//! Reads Rust well enough to tell code from comments, literals and tests.
//!
//! In scope: what stands on which line. Out of scope: what it means; the compiler knows that.

/// One line of a source, its code and its comments apart; neither holds what stands in literals. Lines count from 1.
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) code: String,
    pub(crate) comment: String,
    pub(crate) in_test: bool,
}

/// All lines of a source.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    let (code, comments) = split(text);
    let in_test = test_lines(&code);
    let pairs = code.lines().zip(comments.lines()).zip(in_test);
    pairs
        .zip(1..)
        .map(|(((code, comment), in_test), number)| Line {
            number,
            code: code.to_owned(),
            comment: comment.to_owned(),
            in_test,
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// The code and the comments of a source, each with blanks in place of the rest, so that lines stay lines.
fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let mut at = 0;
    while at < chars.len() {
        let (kind, length) = token(&chars[at..]);
        let end = chars.len().min(at + length);
        for &c in &chars[at..end] {
            let blank = if c == '\n' { '\n' } else { ' ' };
            code.push(if kind == Kind::Code { c } else { blank });
            comments.push(if kind == Kind::Comment { c } else { blank });
        }
        at = end;
    }
    (code, comments)
}

/// The kind and the length, at least 1, of what `rest` starts with.
fn token(rest: &[char]) -> (Kind, usize) {
    if let Some(length) = raw_literal(rest) {
        return (Kind::Literal, length);
    }
    match rest {
        ['/', '/', ..] => (Kind::Comment, run_of(rest, |c| c != '\n')),
        ['/', '*', ..] => (Kind::Comment, block_comment(rest)),
        ['"', ..] => (Kind::Literal, quoted(rest, 1)),
        ['b' | 'c', '"', ..] => (Kind::Literal, quoted(rest, 2)),
        ['\'', '\\', _, tail @ ..] => (Kind::Literal, 4 + run_of(tail, |c| c != '\'')),
        ['\'', _, '\'', ..] => (Kind::Literal, 3),
        [first, ..] if is_word(*first) => (Kind::Code, run_of(rest, is_word)),
        _ => (Kind::Code, 1),
    }
}

fn run_of(rest: &[char], goes_on: impl Fn(char) -> bool) -> usize {
    rest.iter().take_while(|&&c| goes_on(c)).count()
}

/// The length of a literal whose contents start at `at`.
fn quoted(rest: &[char], mut at: usize) -> usize {
    while let Some(&c) = rest.get(at) {
        match c {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of `r"…"`, `br#"…"#` and their like.
fn raw_literal(rest: &[char]) -> Option<usize> {
    let prefix = match rest {
        ['r', ..] => 1,
        ['b' | 'c', 'r', ..] => 2,
        _ => return None,
    };
    let hashes = run_of(&rest[prefix..], |c| c == '#');
    let body = rest[prefix + hashes..].strip_prefix(&['"'])?;
    let mut close = vec!['"'];
    close.resize(1 + hashes, '#');
    let end = body
        .windows(close.len())
        .position(|window| window == close.as_slice())?;
    Some(prefix + hashes + 1 + end + close.len())
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

/// For each line of `code`, whether it lies under `#[cfg(test)]`.
fn test_lines(code: &str) -> Vec<bool> {
    let mut under = vec![false; code.lines().count()];
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = start + item_length(&code[start..]);
        let first = code[..start].matches('\n').count();
        let last = code[..end].matches('\n').count();
        for line in under.iter_mut().take(last + 1).skip(first) {
            *line = true;
        }
        from = end;
    }
    under
}

/// The length of the item that `code` starts with: to its closing brace, or to a semicolon outside of brackets.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '}' if depth <= 1 => return at + 1,
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    code.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `pattern` stands in `text` as whole words.
pub(crate) fn holds(text: &str, pattern: &str) -> bool {
    places(text, pattern).next().is_some()
}

/// Where `pattern` stands in `text` as whole words.
pub(crate) fn places(text: &str, pattern: &str) -> impl Iterator<Item = usize> {
    text.match_indices(pattern).map(|(at, _)| at).filter(move |&at| {
        let runs_in = text[..at].ends_with(is_word) && pattern.starts_with(is_word);
        let runs_on = text[at + pattern.len()..].starts_with(is_word) && pattern.ends_with(is_word);
        !runs_in && !runs_on
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_leave_no_code_behind() {
        let (code, comments) =
            split("a('\\'', b\"x\\\"y\", r#\"\"z\"#, 'l: c) // d \"e\n/* f /* g */ h */ i");
        let words: Vec<&str> = code.split_whitespace().collect();
        assert_eq!(words.concat(), "a(,,,'l:c)i");
        assert_eq!(
            comments.split_whitespace().collect::<Vec<_>>().join(" "),
            "// d \"e /* f /* g */ h */"
        );
    }

    #[test]
    fn what_lies_under_cfg_test_is_known_line_by_line() {
        let text = "fn a() {}\n#[cfg(test)]\nfn b() -> [u8; 2] {\n    c()\n}\nfn d() {}\n#[cfg(test)]\nmod e;\nfn f() {}\n";
        let under: Vec<usize> = lines(text)
            .iter()
            .filter(|line| line.in_test)
            .map(|line| line.number)
            .collect();
        assert_eq!(under, [2, 3, 4, 5, 7, 8]);
    }

    #[test]
    fn words_are_found_whole() {
        assert!(holds("x.fs::y", "fs::") && holds("dbg!(1)", "dbg!"));
        assert!(
            !holds("offs::y", "fs::") && !holds("bus_subject", "subject") && !holds("unsafe_code", "unsafe")
        );
        assert_eq!(places("a ab a", "a").collect::<Vec<_>>(), [0, 5]);
    }
}
