//! Web Push: which endpoints may be called. A browser names the endpoint, and we send requests there, so nothing else keeps a user from
//! making us call a server inside the network.
//!
//! `tasks` checks an endpoint when it is saved, and `reminder-due` again when it sends. `reminder-due` also refuses addresses inside the network,
//! whatever DNS says.

use std::{net::SocketAddr, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::Url;

/// The push services of Chrome, Firefox, Safari and Edge.
pub const DEFAULT_HOSTS: &str =
    "fcm.googleapis.com,updates.push.services.mozilla.com,*.push.apple.com,*.notify.windows.com";

/// The push services that may be called: `PUSH_HOSTS`.
#[derive(Clone, Debug)]
pub struct PushHosts(Vec<Host>);

/// One entry of `PUSH_HOSTS`.
#[derive(Clone, Debug)]
struct Host {
    /// The name. With `subdomains` it begins with a dot.
    name: String,
    subdomains: bool,
    address: Option<SocketAddr>,
}

impl PushHosts {
    fn admit(&self, name: &str) -> bool {
        self.0.iter().any(|host| match name.strip_suffix(host.name.as_str()) {
            Some(before) => before.is_empty() != host.subdomains,
            None => false,
        })
    }

    /// The services whose address the operator has set, with that address.
    pub fn pinned(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.0.iter().filter_map(|host| Some((host.name.as_str(), host.address?)))
    }
}

impl FromStr for PushHosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(Host::from_str)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(entry: &str) -> Result<Self, String> {
        let wrong = || format!("`{entry}` is not `name`, `*.name` or `name=address:port`");
        let (name, address) = match entry.split_once('=') {
            Some((name, address)) => (name, Some(address.parse().map_err(|_| wrong())?)),
            None => (entry, None),
        };
        let (subdomains, bare) = name.strip_prefix("*.").map_or((false, name), |bare| (true, bare));
        let bare = bare.to_ascii_lowercase();
        let url = Url::parse(&format!("https://{bare}")).ok();
        let is_name = url.is_some_and(|url| url.domain() == Some(bare.as_str())) && !bare.contains('*');
        if !is_name || (subdomains && address.is_some()) {
            return Err(wrong());
        }
        let name = if subdomains { format!(".{bare}") } else { bare };
        Ok(Self { name, subdomains, address })
    }
}

/// The URL of a device at a push service that may be called. Who knows it can address the device, so it is neither logged nor shown to others.
#[derive(Clone)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Parses an endpoint.
    ///
    /// # Errors
    /// With what is wrong with it, if it is not one of the push services `hosts`.
    pub fn parse(text: &str, hosts: &PushHosts) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "must be a URL")?;
        // The parser drops `:443`, which is the default port.
        let is_plain = url.scheme() == "https"
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none();
        if !is_plain {
            return Err("must be an https URL without port, user and fragment");
        }
        // An IP address is no domain, in whatever form.
        match url.domain() {
            Some(domain) if hosts.admit(domain) => Ok(Self(url)),
            _ => Err("must be at a push service that this server may call"),
        }
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The name of the push service.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.domain().unwrap_or_default()
    }
}

/// The length of an uncompressed point of the curve P-256, a public key of a device or of ours.
pub const POINT: usize = 65;

/// Parses a public key: a point of P-256, uncompressed, in base64url without padding. Whether it is on the curve shows when it is used.
#[must_use]
pub fn point(text: &str) -> Option<[u8; POINT]> {
    bytes(text).filter(|point| point[0] == 4)
}

/// Parses so many bytes, in base64url without padding.
#[must_use]
pub fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_on_443_at_a_listed_host_is_an_endpoint() {
        let hosts: PushHosts = format!("{DEFAULT_HOSTS}, push.internal=10.0.0.7:8443").parse().unwrap();
        for good in [
            "https://fcm.googleapis.com/fcm/send/abc:def",
            "https://FCM.googleapis.com:443/wp/x",
            "https://updates.push.services.mozilla.com/wpush/v2/g?x=1",
            "https://web.push.apple.com/Q",
            "https://wns2-by3p.notify.windows.com/w/?token=B%2f",
            "https://push.internal/x",
        ] {
            let endpoint = Endpoint::parse(good, &hosts).unwrap_or_else(|wrong| panic!("{good}: {wrong}"));
            assert_eq!(endpoint.url().port_or_known_default(), Some(443));
        }
        for bad in [
            "http://fcm.googleapis.com/x",
            "https://fcm.googleapis.com:8443/x",
            "https://fcm.googleapis.com:80/x",
            "https://user@fcm.googleapis.com/x",
            "https://:secret@fcm.googleapis.com/x",
            "https://fcm.googleapis.com/x#y",
            "https://fcm.googleapis.com./x",
            "https://a.fcm.googleapis.com/x",
            "https://xfcm.googleapis.com/x",
            "https://fcm.googleapis.com.example.org/x",
            "https://push.apple.com/x",
            "https://.push.apple.com/x",
            "https://evilpush.apple.com/x",
            "https://example.org/x",
            "https://fcm.googleapis.com@127.0.0.1/x",
            "https://127.0.0.1/x",
            "https://2130706433/x",
            "https://0x7f.1/x",
            "https://[::1]/x",
            "https://[::ffff:10.0.0.7]/x",
            "https://10.0.0.7/x",
            "https://localhost/x",
            "ftp://fcm.googleapis.com/x",
            "//fcm.googleapis.com/x",
            "",
        ] {
            assert!(Endpoint::parse(bad, &hosts).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_are_names_that_may_have_an_address() {
        let hosts: PushHosts = "a.example, *.b.example ,,C.example=[fd00::1]:8443".parse().unwrap();
        assert_eq!(hosts.pinned().collect::<Vec<_>>(), [("c.example", "[fd00::1]:8443".parse().unwrap())]);
        for wrong in
            ["*", "*.", "a b", "a.example=10.0.0.1", "*.a.example=10.0.0.1:1", "https://a.example", "a.example:1"]
        {
            assert!(wrong.parse::<PushHosts>().is_err(), "{wrong}");
        }
        // Nothing may be called.
        assert!(Endpoint::parse("https://fcm.googleapis.com/x", &"".parse().unwrap()).is_err());
    }

    #[test]
    fn keys_are_base64url_of_their_length() {
        let key = format!("B{}", "A".repeat(86));
        assert_eq!(point(&key).unwrap()[0], 4);
        for wrong in
            [format!("A{}", "A".repeat(86)), format!("{key}A"), format!("{key}="), key.replace('B', "+"), String::new()]
        {
            assert_eq!(point(&wrong), None, "{wrong}");
        }
        assert!(bytes::<16>(&"A".repeat(22)).is_some());
        assert!(bytes::<16>(&"A".repeat(23)).is_none());
    }
}
