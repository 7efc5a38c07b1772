//! The settings of this function. `docs/configuration.md` is generated from these doc comments.

use std::{fmt::Write as _, net::IpAddr};

use anyhow::ensure;
use axum::http::Uri;
use clap::{ArgAction, Parser};

/// Where the page finds the API, and how people sign in.
#[derive(Parser, Clone, Debug)]
#[command(about, long_about = None)]
pub struct PageConfig {
    /// Address of the API, as browsers reach it: `https://api.punctual.example`. Default: the page's own origin.
    #[arg(long, env, value_parser = address)]
    pub api_url: Option<Address>,
    /// Address of `updates`, as browsers reach it; `/` is the page's own origin. Without it the page does not listen: it looks for changes
    /// when it gets the focus, and every minute.
    #[arg(long, env, value_parser = address)]
    pub updates_url: Option<Address>,
    /// Issuer of the identity provider, letter by letter. The page reads `<issuer>/.well-known/openid-configuration`. Requires `OIDC_CLIENT_ID`.
    /// Without it people can only paste a token.
    #[arg(long, env, value_parser = absolute)]
    pub oidc_issuer: Option<Address>,
    /// Client id of the page at the identity provider: a public client with PKCE, whose redirect address is that of the page.
    #[arg(long, env)]
    pub oidc_client_id: Option<String>,
    /// Scopes that the page asks for, separated by spaces. Those of the API belong here where the provider needs them (Entra ID).
    #[arg(long, env, default_value = "openid email offline_access")]
    pub oidc_scope: String,
    /// Audience of the API, sent as `audience` and `resource` where the provider needs it (Auth0).
    #[arg(long, env)]
    pub oidc_audience: Option<String>,
    /// Origins of the identity provider beside that of the issuer, which the page may call, separated by commas: where its token endpoint is
    /// elsewhere.
    #[arg(long, env, value_delimiter = ',', value_parser = origin)]
    pub oidc_origins: Vec<Address>,
    /// Whether a link with `#token=` signs in. For `cargo xtask up` alone: elsewhere a link could sign somebody in to the account of another.
    #[arg(long, env, action = ArgAction::Set, default_value_t = false)]
    pub page_accept_token_link: bool,
}

impl Default for PageConfig {
    fn default() -> Self {
        Self::parse_from(["page"])
    }
}

/// Where the page sends requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As it was given. Empty for the page's own origin.
    text: String,
    /// As in a content security policy. None for the page's own origin.
    origin: Option<String>,
}

impl Address {
    /// The address of a path below this one.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text.trim_end_matches('/'))
    }
}

/// Parses an address, or `/` for the page's own origin.
fn address(text: &str) -> Result<Address, &'static str> {
    if text == "/" { Ok(Address { text: String::new(), origin: None }) } else { absolute(text) }
}

/// Parses an address with a host. Only such characters are accepted as mean nothing in a content security policy.
fn absolute(text: &str) -> Result<Address, &'static str> {
    const WRONG: &str =
        "an address is https://host, with a port or a path if it has one; http:// only for this machine";
    let uri: Uri = text.parse().map_err(|_| WRONG)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(WRONG) };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ['.', '-', ':', '[', ']'].contains(&c);
    let is_allowed = match scheme {
        "https" => true,
        "http" => is_loopback(authority.host()),
        _ => false,
    };
    if !is_allowed || !authority.as_str().chars().all(is_plain) || uri.query().is_some() || text.contains('#') {
        return Err(WRONG);
    }
    let origin = format!("{scheme}://{}", authority.as_str().to_ascii_lowercase());
    Ok(Address { text: text.to_owned(), origin: Some(origin) })
}

/// Parses an address that is an origin.
fn origin(text: &str) -> Result<Address, &'static str> {
    let address = absolute(text)?;
    let is_origin = address.origin.as_deref() == Some(text);
    if is_origin { Ok(address) } else { Err("an origin is an address in lower case, without a path") }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl PageConfig {
    /// Checks the settings that depend on each other.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.oidc_issuer.is_some() == self.oidc_client_id.is_some(),
            "OIDC_ISSUER and OIDC_CLIENT_ID are set together, or neither"
        );
        Ok(())
    }

    /// The origins beside its own that the page may call.
    pub(crate) fn origins(&self) -> Vec<&str> {
        let addresses = [&self.api_url, &self.updates_url, &self.oidc_issuer].into_iter().flatten();
        let mut origins: Vec<&str> =
            addresses.chain(&self.oidc_origins).filter_map(|address| address.origin.as_deref()).collect();
        origins.sort_unstable();
        origins.dedup();
        origins
    }

    /// The origin of the API, if it is another.
    pub(crate) fn api_origin(&self) -> Option<&str> {
        self.api_url.as_ref()?.origin.as_deref()
    }

    /// The address of a path of the API.
    fn api(&self, path: &str) -> String {
        self.api_url.as_ref().map_or_else(|| path.to_owned(), |api| api.join(path))
    }

    /// The address of the API's document, as the value of an attribute.
    pub(crate) fn openapi_url(&self) -> String {
        escaped(&self.api("/openapi.json"))
    }

    /// The elements by which a browser connects early to where the page calls first.
    pub(crate) fn preconnect(&self) -> String {
        let called = [&self.api_url, &self.oidc_issuer].into_iter().flatten();
        let mut origins: Vec<&str> = called.filter_map(|address| address.origin.as_deref()).collect();
        origins.dedup();
        origins
            .iter()
            .map(|origin| format!(r#"<link rel="preconnect" href="{}" crossorigin>"#, escaped(origin)))
            .collect()
    }

    /// The element by which the page learns of its settings.
    pub(crate) fn meta(&self) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let attributes = [
            ("api", self.api("")),
            ("updates", self.updates_url.as_ref().map(|updates| updates.join("/v1/updates")).unwrap_or_default()),
            ("oidc-issuer", self.oidc_issuer.as_ref().map(|issuer| issuer.text.clone()).unwrap_or_default()),
            ("oidc-client-id", text(&self.oidc_client_id)),
            ("oidc-scope", self.oidc_scope.clone()),
            ("oidc-audience", text(&self.oidc_audience)),
            ("token-links", if self.page_accept_token_link { "1" } else { "" }.to_owned()),
        ];
        let mut meta = r#"<meta name="punctual""#.to_owned();
        for (name, value) in attributes {
            let _ = write!(meta, r#" data-{name}="{}""#, escaped(&value));
        }
        meta + ">"
    }
}

/// A text as the value of an attribute.
fn escaped(text: &str) -> String {
    [("&", "&amp;"), ("\"", "&quot;"), ("<", "&lt;"), (">", "&gt;")]
        .iter()
        .fold(text.to_owned(), |text, (character, entity)| text.replace(character, entity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_encrypted_or_on_this_machine_and_cannot_extend_the_policy() {
        for (text, expected) in [
            ("https://api.example", "https://api.example"),
            ("https://api.example/punctual/", "https://api.example"),
            ("https://API.example:8443", "https://api.example:8443"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://127.0.0.1:8420", "http://127.0.0.1:8420"),
            ("http://[::1]:8420", "http://[::1]:8420"),
        ] {
            assert_eq!(address(text).unwrap().origin.as_deref(), Some(expected), "{text}");
        }
        assert_eq!(address("/").unwrap().join("/v1/updates"), "/v1/updates");
        for text in [
            "",
            "api.example",
            "//api.example",
            "http://api.example",
            "http://127.0.0.1.example",
            "https://",
            "https://*",
            "https://*.example",
            "https://a;script-src",
            "https://a,b",
            "https://a'b",
            "https://ada@api.example",
            "https://api.example?q",
            "https://api.example#f",
            "https://api.example; script-src *",
            "ftp://api.example",
            "javascript:alert(1)",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
        assert!(absolute("/").is_err());
        for (text, is_origin) in
            [("https://id.example", true), ("https://id.example/", false), ("https://ID.example", false), ("/", false)]
        {
            assert_eq!(origin(text).is_ok(), is_origin, "{text}");
        }
    }

    #[test]
    fn the_meta_element_has_every_setting_and_cannot_be_left() {
        assert_eq!(
            PageConfig::default().meta(),
            r#"<meta name="punctual" data-api="" data-updates="" data-oidc-issuer="" data-oidc-client-id="" data-oidc-scope="openid email offline_access" data-oidc-audience="" data-token-links="">"#
        );
        let config = PageConfig::parse_from([
            "page",
            "--api-url=https://api.example/",
            "--updates-url=/",
            "--oidc-issuer=https://id.example/",
            "--oidc-client-id=\"><script>&",
            "--oidc-audience=punctual",
            "--page-accept-token-link=true",
        ]);
        assert_eq!(
            config.meta(),
            r#"<meta name="punctual" data-api="https://api.example" data-updates="/v1/updates" data-oidc-issuer="https://id.example/" data-oidc-client-id="&quot;&gt;&lt;script&gt;&amp;" data-oidc-scope="openid email offline_access" data-oidc-audience="punctual" data-token-links="1">"#
        );
    }

    #[test]
    fn a_browser_connects_early_to_other_origins_alone() {
        assert_eq!(PageConfig::default().preconnect(), "");
        let config = PageConfig::parse_from([
            "page",
            "--api-url=https://api.example/base",
            "--oidc-issuer=https://id.example/realm",
            "--oidc-client-id=page",
        ]);
        assert_eq!(
            config.preconnect(),
            r#"<link rel="preconnect" href="https://api.example" crossorigin><link rel="preconnect" href="https://id.example" crossorigin>"#
        );
    }

    #[test]
    fn an_issuer_needs_a_client_and_a_client_an_issuer() {
        for (arguments, is_right) in [
            (&["page"][..], true),
            (&["page", "--oidc-issuer=https://id.example", "--oidc-client-id=page"], true),
            (&["page", "--oidc-issuer=https://id.example"], false),
            (&["page", "--oidc-client-id=page"], false),
        ] {
            assert_eq!(PageConfig::parse_from(arguments).check().is_ok(), is_right, "{arguments:?}");
        }
    }
}
