//! Countries to which personal data may go from the European Economic Area without a further safeguard.
//!
//! Source: Regulation (EU) 2016/679, Articles 44 to 49; the members of the European Economic Area; the European
//! Commission's adequacy decisions under Article 45 as published by the end of 2025. The United States are not among
//! them: that decision holds only for organisations under the Data Privacy Framework, and a disclosure that rests on it
//! names it as its safeguard.
//! In scope: this list. Out of scope: other laws. Trust: whoever changes it names the decision.

/// Members of the European Economic Area.
const AREA: [&str; 30] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT",
    "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// Countries with an adequacy decision. Canada's is for commercial organisations.
const ADEQUATE: [&str; 14] = [
    "AD", "AR", "CA", "CH", "FO", "GB", "GG", "IL", "IM", "JE", "JP", "KR", "NZ", "UY",
];

/// Whether data that goes there needs a safeguard.
pub(super) fn needs_safeguard(country: &str) -> bool {
    !AREA.contains(&country) && !ADEQUATE.contains(&country)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault: a list out of order hides a country that stands in it twice, or stands in both.
    #[test]
    fn every_country_stands_once() {
        for list in [&AREA[..], &ADEQUATE[..]] {
            assert!(list.windows(2).all(|pair| pair[0] < pair[1]), "{list:?}");
        }
        assert!(ADEQUATE.iter().all(|country| !AREA.contains(country)));
        assert!(!needs_safeguard("IE") && !needs_safeguard("CH") && needs_safeguard("US"));
    }
}
