//! The headers by which a browser restricts what the page may do.
//!
//! The page has a token that can do everything its person can. So it runs only its own scripts, calls only the addresses of its settings, and
//! is shown in no frame. The description of the API needs inline styles. It gets an opaque origin instead, in which there is no token.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::PageConfig;

/// Features of browsers that the page never uses.
const PERMISSIONS: &str = "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), geolocation=(), gyroscope=(), \
                           magnetometer=(), microphone=(), midi=(), payment=(), screen-wake-lock=(), usb=(), xr-spatial-tracking=()";

/// The headers of each part of the page.
pub(crate) struct Policies {
    page: HeaderMap,
    docs: HeaderMap,
    assets: HeaderMap,
}

impl Policies {
    pub(crate) fn new(config: &PageConfig) -> Self {
        let called: String = config.origins().iter().map(|origin| format!(" {origin}")).collect();
        let described = config.api_origin().map(|origin| format!(" {origin}")).unwrap_or_default();
        let page = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{called}; manifest-src 'self'; \
             worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
             trusted-types punctual"
        );
        let docs = format!(
            "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
             connect-src 'self'{described}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let mut docs = document(&docs);
        // To an opaque origin even the own scripts belong to another.
        docs.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        Self { page: document(&page), docs, assets: common() }
    }

    /// The headers of a file.
    pub(crate) fn of(&self, url: &str) -> HeaderMap {
        let part = match url.split('/').nth(1) {
            Some("a") => &self.assets,
            Some("docs") => &self.docs,
            _ => &self.page,
        };
        part.clone()
    }
}

fn common() -> HeaderMap {
    HeaderMap::from_iter([
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ])
}

fn document(policy: &str) -> HeaderMap {
    let mut headers = common();
    let policy = HeaderValue::from_str(policy).expect("origins were checked, and the rest is ours");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert("permissions-policy", HeaderValue::from_static(PERMISSIONS));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers
}
