//! Whom a request comes from when a reverse proxy passes it on.
//!
//! In scope: the networks of trusted proxies, reading `X-Forwarded-For`. Out of scope: what is limited by address
//! (`limits`); whether somebody is on this machine, which the connection alone tells (`health`). Trust: the header is
//! anybody's word, except for what trusted proxies have written at its end. So it is read from the right, no further
//! than they wrote it, and only where one of them is at the other end of the connection. `Forwarded` (RFC 7239) is not
//! read: a proxy writes one of the two and passes the other on as it came, and whoever reads both believes a stranger.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::http::HeaderMap;
use serde::Deserialize;
use sharetrail_proof::name::decimal;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// Entries of the header that are looked at: no chain of proxies is as long.
const HOPS_MAX: usize = 32;

/// A network of addresses, such as `10.0.0.0/8`; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ProxyNetwork {
    /// The first of its addresses.
    first: IpAddr,
    /// How many bits of an address tell the network.
    bits: u8,
}

impl ProxyNetwork {
    fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && first_of(address, self.bits) == self.first
    }
}

impl FromStr for ProxyNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let wrong =
            |_| format!("{text:?} is no address and no network; write 10.0.0.7, 10.0.0.0/8 or fd00::/8");
        let address: IpAddr = address.parse().map_err(wrong)?;
        let plain = address.to_canonical();
        if plain != address {
            return Err(format!(
                "{text:?} is an IPv4 address as IPv6; write it as {plain}"
            ));
        }
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits.map(decimal) {
            None => most,
            Some(Some(0)) => {
                return Err(format!(
                    "{text:?} is every address, so all would be trusted; name the proxies"
                ));
            }
            Some(bits) => bits
                .and_then(|bits| u8::try_from(bits).ok())
                .filter(|bits| *bits <= most)
                .ok_or_else(|| format!("{text:?} has no number from 1 to {most} after the slash"))?,
        };
        let first = first_of(address, bits);
        if first != address {
            return Err(format!(
                "{text:?} is not where its network begins; write {first}/{bits}"
            ));
        }
        Ok(Self { first, bits })
    }
}

impl TryFrom<String> for ProxyNetwork {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The first address of the network of an address. `bits`: 1 to as many as the address has.
fn first_of(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let shift = 32 - u32::from(bits);
            IpAddr::V4((address.to_bits() >> shift << shift).into())
        }
        IpAddr::V6(address) => {
            let shift = 128 - u32::from(bits);
            IpAddr::V6((address.to_bits() >> shift << shift).into())
        }
    }
}

/// Whom a request comes from: the other end of its connection, or where that is a trusted proxy, whom the proxy names.
pub(super) fn caller(peer: IpAddr, headers: &HeaderMap, trusted: &[ProxyNetwork]) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.holds(address));
    if !is_trusted(peer) {
        return peer;
    }
    named(headers, is_trusted).unwrap_or(peer)
}

/// The right-most address that is no trusted proxy's; none where something that is no address stands right of it.
fn named(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries.take(HOPS_MAX) {
        let address = address_of(entry)?;
        if !is_trusted(address) {
            return Some(address);
        }
    }
    None
}

/// An address as proxies write it: alone or with a port; one of IPv6 in brackets then, or without a port too.
fn address_of(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    let found = bare().or_else(with_port).or_else(in_brackets);
    found.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn trusted() -> Vec<ProxyNetwork> {
        ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].map(network).to_vec()
    }

    fn network(text: &str) -> ProxyNetwork {
        text.parse().unwrap()
    }

    fn sent(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    #[track_caller]
    fn check(peer: &str, lines: &[&str], expected: &str) {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let found = caller(peer.parse().unwrap(), &sent(&lines), &trusted());
        assert_eq!(found, expected.parse::<IpAddr>().unwrap());
    }

    /// The fault: all strangers behind a proxy share one limit, or one of them takes another limit with each request
    /// by writing a header.
    #[test]
    fn a_trusted_proxy_names_the_caller_and_nobody_else_does() {
        check(PROXY, &["203.0.113.9"], "203.0.113.9");
        check(PROXY, &["198.51.100.1, 203.0.113.9"], "203.0.113.9");
        check(PROXY, &["198.51.100.1", "203.0.113.9"], "203.0.113.9");
        check(
            PROXY,
            &["198.51.100.1,203.0.113.9,10.3.2.1, 192.0.2.7"],
            "203.0.113.9",
        );
        check(PROXY, &["203.0.113.9,10.3.2.1", "192.0.2.7"], "203.0.113.9");
        check("203.0.113.9", &["198.51.100.1"], "203.0.113.9");
        check("192.0.2.8", &["198.51.100.1"], "192.0.2.8");
        // An unlisted proxy in the chain is whom the request comes from.
        check(PROXY, &["203.0.113.9, 198.51.100.2, 10.0.0.2"], "198.51.100.2");
    }

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        check(PROXY, &["203.0.113.9:49152"], "203.0.113.9");
        check(PROXY, &["  203.0.113.9\t"], "203.0.113.9");
        check(PROXY, &["2001:db8::9"], "2001:db8::9");
        check(PROXY, &["[2001:db8::9]"], "2001:db8::9");
        check(PROXY, &["[2001:db8::9]:443, fd00::2"], "2001:db8::9");
        check(PROXY, &["::ffff:203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9");
        check("fd00::1", &["203.0.113.9"], "203.0.113.9");
        check("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9");
    }

    /// The fault: what is no address lets somebody out of every limit, or into another's.
    #[test]
    fn what_is_no_address_counts_as_the_proxy() {
        check(PROXY, &[], PROXY);
        for line in [
            "",
            "unknown",
            "203.0.113.9, ",
            "203.0.113.9, unknown",
            "203.0.113.9, unknown, 10.0.0.2",
            "203.0.113.9 198.51.100.1",
            "203.0.113.999",
            "[203.0.113.9]",
            "[2001:db8::9",
            "\"203.0.113.9\"",
            "for=203.0.113.9",
            "10.0.0.2, 10.0.0.3",
        ] {
            check(PROXY, &[line], PROXY);
        }
        check("::ffff:10.0.0.1", &["unknown"], PROXY);
    }

    /// The fault: a header of many thousand entries is worked through with every request.
    #[test]
    fn no_more_than_some_entries_are_looked_at() {
        let behind = |hops: usize| format!("203.0.113.9{}", ", 10.0.0.2".repeat(hops));
        check(PROXY, &[&behind(HOPS_MAX - 1)], "203.0.113.9");
        check(PROXY, &[&behind(HOPS_MAX)], PROXY);
        check(PROXY, &[&behind(5_000)], PROXY);
        let behind = vec!["10.0.0.2"; HOPS_MAX];
        check(PROXY, &[&["203.0.113.9"][..], &behind].concat(), PROXY);
    }

    proptest! {
        /// The fault: there is a text that a stranger can send by which they count as somebody else.
        #[test]
        fn what_stands_left_of_the_caller_does_not_count(
            spoofed in vec(vec(0x20_u8..0x7f, 0..60), 0..4),
            odd in vec(0x80_u8..=0xff, 0..9),
            last in 1_u8..=255,
            hops in 0_usize..4,
        ) {
            let caller_is = format!("203.0.113.{last}");
            let written = [&caller_is, &", 10.0.0.2".repeat(hops)].map(String::as_str).concat();
            // The proxy adds to the last line, or writes one of its own.
            let appended = [&odd[..], b", ", written.as_bytes()].concat();
            let mut lines: Vec<&[u8]> = spoofed.iter().map(Vec::as_slice).collect();
            for own in [appended.as_slice(), written.as_bytes()] {
                lines.push(own);
                let found = caller(PROXY.parse().unwrap(), &sent(&lines), &trusted());
                prop_assert_eq!(found, caller_is.parse::<IpAddr>().unwrap());
            }
        }
    }

    /// The fault: a network holds what it does not name, and a stranger in it is taken for a proxy.
    #[test]
    fn a_network_holds_its_own_addresses() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.0.0.4/31", "10.0.0.5", "10.0.0.6"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("128.0.0.0/1", "255.0.0.1", "127.255.255.255"),
            ("fd00::/8", "fdff::1", "fc00::1"),
            ("2001:db8::/127", "2001:db8::1", "2001:db8::2"),
            ("::1", "::1", "::2"),
            ("8000::/1", "ffff::", "7fff::"),
            ("::/8", "::a00:1", "10.0.0.1"),
        ] {
            let network = network(text);
            assert!(network.holds(inside.parse().unwrap()), "{text}: {inside}");
            assert!(!network.holds(outside.parse().unwrap()), "{text}: {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "",
            "proxy.shop.example",
            "10.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/-8",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0.1/8",
            "fd00::/129",
            "fd00::1/8",
            "0.0.0.0/0",
            "::/0",
            "::ffff:10.0.0.1",
            "::ffff:10.0.0.0/104",
            " 10.0.0.1",
            "[::1]",
        ] {
            assert!(bad.parse::<ProxyNetwork>().is_err(), "{bad}");
        }
        let told = "10.1.2.3/8".parse::<ProxyNetwork>().unwrap_err();
        assert!(told.ends_with("write 10.0.0.0/8"), "{told}");
    }
}
