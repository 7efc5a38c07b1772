//! Cross-origin requests: which web pages may call a function from a browser.
//!
//! A page of the same origin needs no permission. Nothing here protects the API: a program that is no browser ignores it, and every request
//! needs its token. So no origin may send cookies, and there are none.

use std::time::Duration;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method, Uri, header},
};
use clap::Args;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember the answer to a preflight request. Browsers have limits of their own, of at most a day.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// The web pages that may call a function.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct CorsConfig {
    /// Origins of web pages that may call the API from a browser, separated by commas: `https://punctual.example`. A page of the API's own origin
    /// needs none.
    #[arg(long, env, value_delimiter = ',', value_parser = origin)]
    pub cors_origins: Vec<HeaderValue>,
}

impl CorsConfig {
    /// Lets the pages call these routes.
    pub fn allow_on(&self, routes: Router) -> Router {
        if self.cors_origins.is_empty() {
            return routes;
        }
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.cors_origins.clone()))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_MATCH,
                header::IF_NONE_MATCH,
                HeaderName::from_static("idempotency-key"),
                HeaderName::from_static("last-event-id"),
            ])
            .expose_headers([
                header::ETAG,
                header::LOCATION,
                header::RETRY_AFTER,
                HeaderName::from_static("idempotency-replayed"),
            ])
            .max_age(REMEMBERED);
        routes.layer(layer)
    }
}

/// Parses an origin as browsers send it: scheme, host and a port that is not the scheme's default.
fn origin(text: &str) -> Result<HeaderValue, &'static str> {
    const WRONG: &str =
        "an origin is a scheme and a host as a browser sends them, such as https://punctual.example, without a path";
    let uri: Uri = text.parse().map_err(|_| WRONG)?;
    let (Some(scheme), Some(host), port) = (uri.scheme_str(), uri.host(), uri.port_u16()) else { return Err(WRONG) };
    let port = match (scheme, port) {
        ("http", Some(80)) | ("https", Some(443)) => return Err(WRONG),
        ("http" | "https", Some(port)) => format!(":{port}"),
        ("http" | "https", None) => String::new(),
        _ => return Err(WRONG),
    };
    // Anything else would never equal the header of a browser.
    let as_sent = format!("{scheme}://{}{port}", host.to_ascii_lowercase());
    if text == as_sent { HeaderValue::try_from(as_sent).map_err(|_| WRONG) } else { Err(WRONG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_only_as_a_browser_sends_it() {
        for text in
            ["https://punctual.example", "http://localhost:8081", "https://punctual.example:8443", "http://[::1]:8081"]
        {
            assert_eq!(origin(text).unwrap(), text);
        }
        for text in [
            "",
            "*",
            "null",
            "punctual.example",
            "https://",
            "https://punctual.example/",
            "https://punctual.example/app",
            "https://punctual.example?q",
            "https://Punctual.example",
            "HTTPS://punctual.example",
            "https://punctual.example:443",
            "https://ada@punctual.example",
            "ftp://punctual.example",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
