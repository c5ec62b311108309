//! Webhooks: how a message is signed (Standard Webhooks 1.0.0), when it is tried again, and where
//! it may be sent. Pure: resolving names and sending is [`crate::io::web::courier`]'s.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64;
use ring::hmac;
use serde::{Deserialize, Serialize};

/// Longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2048;
/// Largest message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// Length of a secret, in bytes (the specification recommends 24 to 64).
pub const SECRET_BYTES: usize = 32;
/// What a secret shown to people begins with (Standard Webhooks, "Signature scheme").
pub const SECRET_PREFIX: &str = "whsec_";
/// Waits before the second, third, … attempt, in seconds: five seconds to ten hours, as the
/// specification suggests. After the last one the message is given up.
pub const BACKOFF_SECONDS: [u64; 9] =
    [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600, 10 * 3600, 10 * 3600];

/// A secret as its receiver is shown it.
pub fn secret_text(secret: &[u8]) -> String {
    format!("{SECRET_PREFIX}{}", BASE64.encode(secret))
}

/// The header `webhook-signature` of a message.
pub fn signature(secret: &[u8], id: &str, timestamp_seconds: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signed = format!("{id}.{timestamp_seconds}.{body}");
    format!("v1,{}", BASE64.encode(hmac::sign(&key, signed.as_bytes()).as_ref()))
}

/// How long to wait after the attempt of this number (from 1), in seconds; `None`: give up.
pub fn wait_seconds(attempt: u64) -> Option<u64> {
    let at = usize::try_from(attempt.max(1) - 1).ok()?;
    BACKOFF_SECONDS.get(at).copied()
}

/// Why nothing is sent there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Too long.
    #[error("the URL has {got_bytes} bytes, at most {MAX_URL_BYTES} are allowed")]
    TooLong {
        /// Its length.
        got_bytes: usize,
    },
    /// Not `https://HOST[:PORT]/PATH`.
    #[error("the URL must be https://HOST[:PORT][/PATH], without user, password or fragment")]
    Form,
    /// Without TLS, beyond this machine.
    #[error("http:// is for loopback addresses only: use https://")]
    Plain,
    /// Every address of the name is one this broker must not reach.
    #[error(
        "{address} is not a public address: name its network in webhooks.private_networks if this is meant"
    )]
    Private {
        /// The address.
        address: IpAddr,
    },
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether over TLS.
    pub tls: bool,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl Target {
    /// Reads a URL, strictly.
    pub fn parse(url: &str) -> Result<Target, TargetError> {
        if url.len() > MAX_URL_BYTES {
            return Err(TargetError::TooLong { got_bytes: url.len() });
        }
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(TargetError::Form),
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let printable = |text: &str| text.bytes().all(|b| (0x21..0x7f).contains(&b));
        let fine = printable(rest) && !rest.contains(['#', '\\', '"', '<', '>']);
        if authority.is_empty() || authority.contains('@') || !fine {
            return Err(TargetError::Form);
        }
        let (host, port) = split_port(authority, tls).ok_or(TargetError::Form)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let target = Target { tls, host, port, path };
        match target.tls || target.is_loopback() {
            true => Ok(target),
            false => Err(TargetError::Plain),
        }
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Value of the `Host` header.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

fn split_port(authority: &str, tls: bool) -> Option<(String, u16)> {
    let usual = if tls { 443 } else { 80 };
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if rest.is_empty() => usual,
            None => return None,
        };
        return Some((host.to_owned(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (authority, usual),
    };
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    (!host.is_empty() && host.bytes().all(fine)).then(|| (host.to_owned(), port))
}

/// A network in CIDR notation, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// A text that names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is no network: write one like 10.0.0.0/8 or fd00::/8")]
pub struct NetworkError {
    got: String,
}

impl std::str::FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let refused = || NetworkError { got: text.chars().take(80).collect() };
        let (address, bits) = text.split_once('/').ok_or_else(refused)?;
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse::<u8>().ok().filter(|bits| *bits <= most);
        Ok(Network { address, prefix_bits: bits.ok_or_else(refused)? })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Network, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Network {
    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, plain(address)) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                u64::from(u32::from(net)) >> shift == u64::from(u32::from(ip)) >> shift
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.prefix_bits);
                let cut = |ip: Ipv6Addr| u128::from(ip).checked_shr(shift).unwrap_or(0);
                cut(net) == cut(ip)
            }
            _ => false,
        }
    }
}

/// An IPv4 address in IPv6 clothes as itself (RFC 4291 §2.5.5.2; NAT64, RFC 6052 §2.1).
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(ip) = address else { return address };
    let segments = ip.segments();
    let embedded = || {
        let bits = u32::from(segments[6]) << 16 | u32::from(segments[7]);
        IpAddr::V4(Ipv4Addr::from(bits))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => embedded(),
        _ => address,
    }
}

/// Whether an address is anybody's on the Internet (IANA's special-purpose address registries).
pub fn is_public(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            let special = ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_documentation()
                || a == 0
                || a >= 224
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (18..20).contains(&b));
            !special
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            // Global unicast is 2000::/3, less what tunnels to somewhere else or is documentation.
            (0x2000..0x4000).contains(&a)
                && !(a == 0x2001 && (b < 0x200 || b == 0xdb8))
                && a != 0x2002
                && a != 0x3fff
        }
    }
}

/// The addresses of a name that a message may be sent to: public ones, those in a configured
/// network, and loopback where the URL itself says so and the operator allows it by configuration.
pub fn permitted(
    addresses: &[IpAddr],
    private_networks: &[Network],
) -> Result<Vec<IpAddr>, TargetError> {
    let fine = |ip: &&IpAddr| is_public(**ip) || private_networks.iter().any(|n| n.contains(**ip));
    let permitted: Vec<IpAddr> = addresses.iter().filter(fine).copied().collect();
    match (permitted.is_empty(), addresses.first()) {
        (true, Some(address)) => Err(TargetError::Private { address: *address }),
        _ => Ok(permitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_specification_says() {
        // The example of the Standard Webhooks specification's own libraries.
        let secret = BASE64.decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let got = signature(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            "{\"test\": 2432232314}",
        );
        assert_eq!(got, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(secret_text(&secret).starts_with("whsec_MfKQ"));
    }

    #[test]
    fn gives_up_after_two_days() {
        let waits: Vec<u64> = (1..).map_while(wait_seconds).collect();
        assert_eq!(waits, BACKOFF_SECONDS);
        assert!((47 * 3600..49 * 3600).contains(&waits.iter().sum::<u64>()));
        assert_eq!(wait_seconds(u64::MAX), None);
    }

    #[test]
    fn reads_urls_strictly() {
        let target = Target::parse("https://example.org/in?x=1").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("example.org", 443));
        assert_eq!(target.path, "/in?x=1");
        assert_eq!(
            Target::parse("https://[2001:db8::1]:8443").unwrap().authority(),
            "[2001:db8::1]:8443"
        );
        assert_eq!(Target::parse("https://a?b").unwrap().path, "/?b");
        assert!(Target::parse("http://127.0.0.1:9/x").is_ok());
        assert_eq!(Target::parse("http://example.org/"), Err(TargetError::Plain));
        assert_eq!(Target::parse("http://127.0.0.1.example.org/"), Err(TargetError::Plain));
        for bad in [
            "ftp://a/",
            "https://",
            "https://a@b/",
            "https://a:0/",
            "https://a:b/",
            "https://a b/",
            "https://a/#x",
            "https://[::1",
            "https://[::g]/",
            "https://a\\b/",
            "//a",
            "https://a\r\nb",
        ] {
            assert_eq!(Target::parse(bad), Err(TargetError::Form), "{bad}");
        }
        let long = format!("https://a/{}", "x".repeat(MAX_URL_BYTES));
        assert!(matches!(Target::parse(&long), Err(TargetError::TooLong { .. })));
    }

    #[test]
    fn private_addresses_are_refused_unless_configured() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "203.0.113.9",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(ip(private)), "{private}");
            let address = ip(private);
            assert_eq!(permitted(&[address], &[]), Err(TargetError::Private { address }));
        }
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(ip(public)), "{public}");
        }
        let ours = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        assert!(permitted(&[ip("10.9.9.9")], &ours).is_ok());
        assert!(permitted(&[ip("::ffff:10.9.9.9")], &ours).is_ok());
        assert!(permitted(&[ip("fdab::1")], &ours).is_ok());
        assert!(permitted(&[ip("11.0.0.1"), ip("192.168.0.1")], &[]).unwrap() == [ip("11.0.0.1")]);
        assert!(permitted(&[ip("192.168.0.1")], &ours).is_err());
        let everything: Network = "0.0.0.0/0".parse().unwrap();
        assert!(everything.contains(ip("192.168.0.1")) && !everything.contains(ip("fd00::1")));
        for bad in ["10.0.0.0", "10.0.0.0/33", "x/8", "::/129"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
