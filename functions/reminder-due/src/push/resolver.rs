//! Resolves the names of push services, to public addresses only: a name that is allowed today may point inside the network tomorrow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

/// Refuses a name that has a single address that is not public.
pub(super) struct PublicAddresses;

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0 becomes that of the URL.
            let addresses: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            if addresses.iter().all(|address| is_public(address.ip())) {
                Ok(Box::new(addresses.into_iter()) as Addrs)
            } else {
                Err("the name points inside a network".into())
            }
        })
    }
}

/// Whether an address is reached over the public internet (RFC 6890). The standard library's `is_global` is not stable.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    // This network, protocols, 6to4, reserved, carriers' translation of addresses, benchmarks.
    let is_special = matches!(
        address.octets(),
        [0, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] | [100, 64..=127, ..] | [198, 18..=19, ..]
    );
    !(is_special
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast())
}

/// Within 2000::/3, which excludes unique local, link-local, mapped and translated addresses.
fn is_public_v6(address: Ipv6Addr) -> bool {
    // Teredo and other protocols, documentation, 6to4, documentation.
    let is_special = matches!(
        address.segments(),
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..]
    );
    address.segments()[0] >> 13 == 1 && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in
            ["8.8.8.8", "142.250.185.74", "17.188.128.1", "100.128.0.1", "172.32.0.1", "2a00:1450:4001::200a", "2600::"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.7",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.7",
            "::ffff:8.8.8.8",
            "::7f00:1",
            "64:ff9b::a00:7",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:7::1",
            "3fff::1",
            "5f00::1",
            "100::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
    }

    #[tokio::test]
    async fn a_name_with_an_address_inside_is_refused() {
        let resolved = PublicAddresses.resolve("localhost".parse().unwrap()).await;
        assert_eq!(resolved.err().unwrap().to_string(), "the name points inside a network");
    }
}
