//! The known word that a misspelt one probably means.
//!
//! In scope: one search by edit distance. Out of scope: which words are known.
//! Trust: `found` is untrusted; long ones are not searched for, since the search's cost grows with them.

/// Longest word that is searched for, in bytes; the longest known one has 60.
const MAX_SEARCHED_BYTES: usize = 96;

/// The word of `known` with the fewest edits to `found`; none if even that one differs in more than half of it.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if found.len() > MAX_SEARCHED_BYTES {
        return None;
    }
    let limit = (found.chars().count() / 2).max(2);
    known
        .into_iter()
        .map(|word| (strsim::osa_distance(found, word), word))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_noise_is_not() {
        let known = ["recipient", "categories", "purposes"];
        assert_eq!(nearest("recipent", known), Some("recipient"));
        assert_eq!(nearest("prupose", known), Some("purposes"));
        assert_eq!(nearest("zzzzzzzz", known), None);
        assert_eq!(nearest(&"recipient".repeat(1_000), known), None);
    }
}
