//! Keeps webhooks away from addresses that only this machine or its cloud should reach.
//!
//! Targets are often internal deploy tools, so private networks are fine. Loopback, link-local
//! (where clouds keep their metadata), multicast and the like need an entry in `[deliveries] allow`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What may be called although it is blocked by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowList {
    hosts: Vec<String>,
    networks: Vec<(IpAddr, u8)>,
}

/// Why a target may not be called, or an entry is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The entry is neither host nor network.
    #[error("{0:?} is neither a host name, an address nor a network such as 10.0.0.0/8")]
    Entry(String),
    /// The address is not reachable from outside for a reason.
    #[error("{address} is {what}; add it to [deliveries] allow if it really is meant")]
    Blocked {
        /// The address.
        address: IpAddr,
        /// What kind of address it is.
        what: &'static str,
    },
}

impl AllowList {
    /// Parses the entries of the configuration.
    ///
    /// # Errors
    /// [`GuardError::Entry`] for the first that cannot be read.
    pub(crate) fn parse(entries: &[String]) -> Result<Self, GuardError> {
        let mut list = Self::default();
        for entry in entries {
            let (address, bits) = match entry.split_once('/') {
                Some((address, bits)) => (address, Some(bits)),
                None => (entry.as_str(), None),
            };
            let bad = || GuardError::Entry(entry.clone());
            match (address.parse::<IpAddr>(), bits) {
                (Ok(address), bits) => {
                    let widest = if address.is_ipv4() { 32 } else { 128 };
                    let bits = bits.map_or(Ok(widest), |b| b.parse::<u8>().map_err(|_| bad()))?;
                    if bits > widest {
                        return Err(bad());
                    }
                    list.networks.push((address, bits));
                }
                (Err(_), None) if is_host(entry) => list.hosts.push(entry.to_ascii_lowercase()),
                (Err(_), _) => return Err(bad()),
            }
        }
        Ok(list)
    }

    /// Tells whether an address, found for a host, may be called.
    ///
    /// # Errors
    /// [`GuardError::Blocked`] when it may not.
    pub(crate) fn check(&self, host: &str, address: IpAddr) -> Result<(), GuardError> {
        let plain = unwrapped(address);
        let named = self.hosts.iter().any(|h| h.eq_ignore_ascii_case(host));
        if named || self.networks.iter().any(|&(network, bits)| inside(plain, network, bits)) {
            return Ok(());
        }
        match danger(plain) {
            Some(what) => Err(GuardError::Blocked { address, what }),
            None => Ok(()),
        }
    }
}

fn is_host(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    !text.is_empty()
        && text.len() <= 253
        && text.chars().all(legal)
        && text.chars().any(|c| c.is_ascii_alphabetic())
}

/// Takes an IPv4 address out of its IPv6 forms, so that no spelling gets past the rules.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    let s = v6.segments();
    let tail = Ipv4Addr::from((u32::from(s[6]) << 16) | u32::from(s[7]));
    let nat64 = s[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let compatible = s[..6] == [0; 6] && u32::from(tail) > 1;
    let six_to_four = s[0] == 0x2002;
    if nat64 || compatible {
        return tail.into();
    }
    if six_to_four {
        return Ipv4Addr::from((u32::from(s[1]) << 16) | u32::from(s[2])).into();
    }
    address
}

fn danger(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => danger_v4(v4),
        IpAddr::V6(v6) => danger_v6(v6),
    }
}

fn danger_v4(v4: Ipv4Addr) -> Option<&'static str> {
    if v4 == Ipv4Addr::new(100, 100, 100, 200) {
        return Some("a cloud's metadata service");
    }
    let tests: [(bool, &str); 6] = [
        (v4.is_loopback(), "a loopback address"),
        (v4.is_link_local(), "a link-local address"),
        (v4.is_multicast(), "a multicast address"),
        (v4.is_broadcast(), "a broadcast address"),
        (v4.octets()[0] == 0, "an unspecified address"),
        (v4.octets()[0] >= 240, "a reserved address"),
    ];
    tests.into_iter().find(|(hit, _)| *hit).map(|(_, what)| what)
}

fn danger_v6(v6: Ipv6Addr) -> Option<&'static str> {
    let metadata = v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let tests: [(bool, &str); 5] = [
        (metadata, "a cloud's metadata service"),
        (v6.is_loopback(), "a loopback address"),
        (v6.is_unspecified(), "an unspecified address"),
        (v6.segments()[0] & 0xffc0 == 0xfe80, "a link-local address"),
        (v6.is_multicast(), "a multicast address"),
    ];
    tests.into_iter().find(|(hit, _)| *hit).map(|(_, what)| what)
}

fn inside(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (a, n, width) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(u32::from(a)), u128::from(u32::from(n)), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (u128::from(a), u128::from(n), 128),
        _ => return false,
    };
    bits == 0 || (a >> (width - bits)) == (n >> (width - bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: &[&str], address: &str, want: bool) {
        let list = AllowList::parse(&allow.iter().map(|s| s.to_string()).collect::<Vec<_>>()).unwrap();
        assert_eq!(list.check("some.host", address.parse().unwrap()).is_ok(), want, "{allow:?} {address}");
    }

    #[test]
    fn no_spelling_of_a_blocked_address_gets_through() {
        for blocked in [
            "127.0.0.1",
            "127.255.1.2",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "fe80::1",
            "100.100.100.200",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "250.0.0.1",
        ] {
            check(&[], blocked, false);
        }
        for fine in ["10.1.2.3", "192.168.1.1", "8.8.8.8", "2001:db8::1", "fd12::1"] {
            check(&[], fine, true);
        }
    }

    #[test]
    fn an_entry_opens_what_it_names_and_no_more() {
        check(&["127.0.0.1"], "127.0.0.1", true);
        check(&["127.0.0.1"], "::ffff:127.0.0.1", true);
        check(&["127.0.0.1"], "127.0.0.2", false);
        check(&["127.0.0.0/8"], "127.9.9.9", true);
        check(&["some.host"], "127.0.0.1", true);
        check(&["other.host"], "127.0.0.1", false);
        check(&["0.0.0.0/0"], "169.254.1.1", true);
    }

    #[test]
    fn broken_entries_are_named() {
        for bad in ["10.0.0.0/33", "a b", "", "10.0.0/8", "1.2.3.4/x"] {
            assert!(AllowList::parse(&[bad.to_string()]).is_err(), "{bad}");
        }
    }
}
