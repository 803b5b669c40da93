//! Which addresses may be connected to. Looked at on the address that is about to be connected to, at every
//! connection and every redirect: a name that changes its address, a strange way to write one, a redirect to
//! the inside all end here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds tell whoever asks from inside who they are, with credentials: link-local services of AWS, Azure,
/// Google, Oracle, Alibaba and Scaleway.
const METADATA: [IpAddr; 10] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Why such an address is forbidden.
const METADATA_REASON: &str = "it is where a cloud keeps credentials";

/// IPv4 networks that are not the public Internet (the IANA registry of special-purpose addresses).
const SPECIAL_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Parts of the global IPv6 unicast space that are not the public Internet.
const SPECIAL_V6: [(Ipv6Addr, u8); 3] = [
    // Protocol assignments, Teredo among them.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Addresses with a common begin, such as `10.0.0.0/8`. Kept unmapped: a network of IPv4 is one of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    begin: IpAddr,
    /// How many bits of it are the same for all.
    bits: u8,
}

impl Network {
    /// Reads a network, or a single address. The error says what is wrong, without quoting the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str =
            "a network is an address, with the number of its fixed bits: \"10.0.0.0/8\", \"fd00::/8\"";
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, bits)| (a, Some(bits)));
        let begin: IpAddr = address.parse().map_err(|_| WRONG)?;
        let most = if begin.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| WRONG)?
            }
            Some(_) => return Err(WRONG),
        };
        if bits > most {
            return Err("an address of IPv4 has 32 bits, one of IPv6 has 128");
        }
        let network = Self { begin, bits };
        if network.masked(begin) != network.masked_exactly() {
            return Err("the address has bits set behind the fixed ones: write the begin of the network");
        }
        Ok(network.unmapped())
    }

    /// A network of mapped addresses as the one of IPv4 that it is: they are looked at as such.
    fn unmapped(self) -> Self {
        match self.begin {
            IpAddr::V6(begin) if self.bits >= 96 => begin
                .to_ipv4_mapped()
                .map_or(self, |begin| Self { begin: begin.into(), bits: self.bits - 96 }),
            _ => self,
        }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.begin.is_ipv4() == address.is_ipv4() && self.masked(address) == self.masked(self.begin)
    }

    /// The fixed bits of an address.
    fn masked(&self, address: IpAddr) -> u128 {
        let (bits, length) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let free = u32::from(length - self.bits.min(length));
        bits.checked_shr(free).unwrap_or(0).checked_shl(free).unwrap_or(0)
    }

    /// All bits of the begin.
    fn masked_exactly(&self) -> u128 {
        match self.begin {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.begin, self.bits)
    }
}

/// Which addresses may be connected to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AddressPolicy {
    /// All but those where clouds keep credentials.
    #[default]
    NoMetadata,
    /// Those of the public Internet only.
    PublicOnly,
    /// As networks say.
    Networks {
        /// Where this is not empty, no others. An address where clouds keep credentials has to stand here by
        /// itself.
        allow: Vec<Network>,
        /// None of these, whatever is allowed.
        deny: Vec<Network>,
    },
}

impl AddressPolicy {
    /// Why an address may not be connected to, as the end of "the address policy forbids …"; none if it may.
    pub(super) fn forbids(&self, address: IpAddr) -> Option<&'static str> {
        let mut seen = [Some(address), embedded(address)];
        if let Some(inner) = seen[1].filter(|_| is_mapped(address)) {
            // It is that address, in another form.
            seen = [Some(inner), None];
        }
        let hidden = hidden(address).into_iter().flatten().filter(|address| METADATA.contains(address));
        seen.into_iter().flatten().chain(hidden).find_map(|address| self.forbids_exactly(address))
    }

    fn forbids_exactly(&self, address: IpAddr) -> Option<&'static str> {
        let is_metadata = METADATA.contains(&address);
        match self {
            Self::NoMetadata => is_metadata.then_some(METADATA_REASON),
            Self::PublicOnly => (is_metadata || !is_public(address)).then_some("it is not public"),
            Self::Networks { deny, .. } if deny.iter().any(|network| network.contains(address)) => {
                Some("it is in \"deny\"")
            }
            Self::Networks { allow, .. } => {
                let mut allowing = allow.iter().filter(|network| network.contains(address)).peekable();
                if allowing.peek().is_none() && !allow.is_empty() {
                    return Some("it is not in \"allow\"");
                }
                let by_itself = |network: &Network| network.masked_exactly() == network.masked(address);
                let is_meant = allowing.any(|network| {
                    by_itself(network) && network.bits == if address.is_ipv4() { 32 } else { 128 }
                });
                (is_metadata && !is_meant).then_some(METADATA_REASON)
            }
        }
    }
}

/// Whether an address is one of IPv4 in the clothes of IPv6: connecting to it is connecting to that.
fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// The IPv4 addresses that may be inside an IPv6 one of the local NAT64 prefix (RFC 8215), for each length of prefix
/// that its operator may have chosen from it: RFC 6052 section 2.2, which leaves bits 64 to 71 out. Which one it is
/// cannot be seen.
fn hidden(address: IpAddr) -> [Option<IpAddr>; 3] {
    let IpAddr::V6(address) = address else { return [None; 3] };
    if address.segments()[..3] != [0x64, 0xff9b, 1] {
        return [None; 3];
    }
    let bits = address.to_bits();
    let of_48 = (bits >> 64 & 0xffff) << 16 | (bits >> 40 & 0xffff);
    let of_56 = (bits >> 64 & 0xff) << 24 | (bits >> 32 & 0xff_ffff);
    [of_48, of_56, bits >> 24].map(|inner| Some(Ipv4Addr::from_bits(inner as u32).into()))
}

/// The IPv4 address inside an IPv6 one, which packets may end up at: mapped, compatible, translated, NAT64, 6to4.
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let parts = address.segments();
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Mapped (::ffff:0:0/96) and compatible (::/96); translated (::ffff:0:0:0/96, RFC 2765); NAT64 (RFC 6052)
        // and its local form (RFC 8215); 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()),
        _ => None,
    }
}

/// Whether an address is one of the public Internet. Of one with another inside, the other decides as well.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => {
            let special =
                SPECIAL_V4.iter().map(|(begin, bits)| Network { begin: (*begin).into(), bits: *bits });
            !special.into_iter().any(|network| network.contains(address))
        }
        IpAddr::V6(inner) => {
            let special =
                SPECIAL_V6.iter().map(|(begin, bits)| Network { begin: (*begin).into(), bits: *bits });
            let is_nat64 = inner.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
            let is_global = inner.segments()[0] & 0xe000 == 0x2000;
            is_nat64 || (is_global && !special.into_iter().any(|network| network.contains(address)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn networks(allow: &[&str], deny: &[&str]) -> AddressPolicy {
        let read = |texts: &[&str]| texts.iter().map(|text| Network::parse(text).unwrap()).collect();
        AddressPolicy::Networks { allow: read(allow), deny: read(deny) }
    }

    /// A12: what must never be reached from outside, in every form that reaches it.
    #[test]
    fn a12_public_only_is_public_only() {
        let inside = "127.0.0.1 127.1.2.3 0.0.0.0 0.1.2.3 ::1 :: ::ffff:127.0.0.1 ::127.0.0.1 2002:7f00:1:: \
                      64:ff9b::7f00:1 64:ff9b:1::a00:1 10.1.2.3 ::ffff:10.0.0.1 172.16.0.1 172.31.255.255 \
                      192.168.1.1 100.64.0.1 169.254.1.1 169.254.169.254 ::ffff:a9fe:a9fe 2002:a9fe:a9fe:: \
                      fd00:ec2::254 100.100.100.200 168.63.129.16 fe80::1 fc00::1 fdff::1 ff02::1 224.0.0.1 \
                      255.255.255.255 240.0.0.1 192.0.0.192 192.0.2.1 198.18.0.1 198.51.100.7 203.0.113.9 \
                      2001:db8::1 2001::1 3fff::1 ::2 fec0::1 64:ff9b::a9fe:a9fe";
        for text in inside.split_whitespace() {
            assert!(AddressPolicy::PublicOnly.forbids(address(text)).is_some(), "{text}");
        }
        let outside = "1.1.1.1 8.8.8.8 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 169.253.0.1 223.255.255.1 \
                       2606:4700::1111 2a00:1450::1 ::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::1";
        for text in outside.split_whitespace() {
            assert_eq!(AddressPolicy::PublicOnly.forbids(address(text)), None, "{text}");
        }
    }

    /// A12, M9: what a pipeline file may reach by default.
    #[test]
    fn a12_m9_only_metadata_is_forbidden_by_default() {
        let policy = AddressPolicy::default();
        let metadata = "169.254.169.254 ::ffff:169.254.169.254 ::ffff:a9fe:a9fe ::a9fe:a9fe 64:ff9b::a9fe:a9fe \
                        2002:a9fe:a9fe:: ::ffff:0:a9fe:a9fe 64:ff9b:1::a9fe:a9fe 64:ff9b:1:a9fe:a9:fe00:: \
                        64:ff9b:1:a9:fe:a9fe:: 64:ff9b:1::a9:fea9:fe00:0 169.254.170.2 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254 \
                        fd20:ce::254";
        for text in metadata.split_whitespace() {
            assert!(policy.forbids(address(text)).is_some(), "{text}");
        }
        for text in
            "127.0.0.1 ::1 0.0.0.0 10.0.0.1 192.168.0.1 169.254.1.1 fe80::1 fd00::1 1.1.1.1".split(' ')
        {
            assert_eq!(policy.forbids(address(text)), None, "{text}");
        }
    }

    #[test]
    fn networks_allow_and_deny() {
        let policy = networks(&["10.0.0.0/8", "fd00::/8"], &["10.9.0.0/16"]);
        for text in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"] {
            assert_eq!(policy.forbids(address(text)), None, "{text}");
        }
        for text in ["10.9.1.1", "::ffff:10.9.1.1", "11.0.0.1", "127.0.0.1", "fe00::1", "fd00:ec2::254"] {
            assert!(policy.forbids(address(text)).is_some(), "{text}");
        }
        let mapped = networks(&[], &["::ffff:10.9.0.0/112", "::ffff:10.8.0.1"]);
        for text in ["10.9.1.1", "::ffff:10.9.1.1", "10.8.0.1"] {
            assert!(mapped.forbids(address(text)).is_some(), "{text}");
        }
        let policy = networks(&[], &["192.168.0.0/16"]);
        assert_eq!(policy.forbids(address("10.0.0.1")), None);
        assert!(policy.forbids(address("192.168.3.4")).is_some());
        assert!(policy.forbids(address("169.254.169.254")).is_some());
        // Who names such an address by itself means it; a network around it does not.
        assert_eq!(networks(&["169.254.169.254"], &[]).forbids(address("169.254.169.254")), None);
        assert!(networks(&["169.254.0.0/16"], &[]).forbids(address("169.254.169.254")).is_some());
        assert_eq!(networks(&["0.0.0.0/0"], &[]).forbids(address("8.8.8.8")), None);
    }

    #[test]
    fn networks_people_write() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/8", "10.1.2.3/32"] {
            assert_eq!(Network::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Network::parse("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        for text in ["", "10", "10.0.0.0/33", "10.0.0.1/8", "fd00::/129", "10.0.0.0/", "10.0.0.0/+8", "x/8"] {
            assert!(Network::parse(text).is_err(), "{text:?}");
        }
    }
}
