//! `page`: the web page. It serves the files of `web/`, which `build.rs` compresses and builds into the binary.
//!
//! Triggered by HTTP only. It has no database, no daprd and no state, and knows nothing of users: the page in the browser calls the API with
//! the token of its person. So any number of processes may run.
//!
//! Files below `/a/` have the hash of all of them in their addresses and never change. Everything else is asked for again each time, and answered
//! 304 if it is the same. A script of another version is answered with one that reloads the page, once per version (`RELOAD`).

mod config;
mod files;
mod policy;

pub use config::{Address, PageConfig};

use std::{collections::HashMap, io::Write as _, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use shared::{
    config::{HostConfig, from_env, or_exit},
    encoding,
    problem::Problem,
    serve::{self, Host, lambda},
};

use self::{
    files::{FILES, File, HASH},
    policy::Policies,
};

const FOREVER: &str = "public, max-age=31536000, immutable";
/// Kept, and compared by its `ETag` before each use.
const COMPARED: &str = "no-cache";
/// There is nothing for a search engine: all of it is behind a sign-in.
const ROBOTS: &str = "User-agent: *\nDisallow: /\n";
/// The answer to a request for a script of another version. A deployment replaced that version while the page was open, or has not yet reached this
/// process. The page reloads once for each version that is missing; after that it fails, and says so itself.
const RELOAD: &str = r#"const missing = import.meta.url.split("/")[4];
if (sessionStorage.getItem("punctual.reloaded") !== missing) {
    sessionStorage.setItem("punctual.reloaded", missing);
    location.reload();
    await new Promise(() => {});
}
throw new Error("this page is of another version than the server: reload it");
"#;

/// Runs the function until SIGTERM, or until Lambda ends the process.
///
/// # Errors
/// When the configuration is invalid or the port is taken.
pub async fn run() -> anyhow::Result<()> {
    serve::prepare();
    let HostConfig { port } = from_env();
    let routes = router(Page::from_env());
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        return lambda::run_for_clients(serve::complete(routes, Host::default())).await;
    }
    serve::listen(routes, Host::default(), port).await
}

/// Everything that is served, by its path. Cheap to clone.
#[derive(Clone)]
pub struct Page(Arc<HashMap<String, Served>>);

/// A file as it is answered.
struct Served {
    headers: HeaderMap,
    /// The best encoding first. The last is the file as it is.
    variants: Vec<Variant>,
}

/// A file in one encoding.
struct Variant {
    encoding: Option<&'static str>,
    etag: HeaderValue,
    body: Bytes,
}

impl Page {
    /// The page with the settings of the environment. If they are invalid, ends the process with one line.
    #[must_use]
    pub fn from_env() -> Self {
        or_exit(Self::new(&from_env()))
    }

    /// The page with these settings.
    ///
    /// # Errors
    /// When the settings contradict each other.
    pub fn new(config: &PageConfig) -> anyhow::Result<Self> {
        config.check()?;
        let policies = Policies::new(config);
        let mut served: HashMap<String, Served> =
            FILES.iter().map(|file| (file.url.to_owned(), Served::new(file, config, &policies))).collect();
        let robots = File {
            url: "/robots.txt",
            kind: "text/plain; charset=utf-8",
            is_template: false,
            identity: ROBOTS.as_bytes(),
            br: &[],
            gzip: &[],
        };
        // Browsers ask for the second without being told to.
        let icon = FILES.iter().find(|file| file.url == "/icon.svg");
        for (url, file) in [("/robots.txt", Some(&robots)), ("/favicon.ico", icon)] {
            if let Some(file) = file {
                served.entry(url.to_owned()).or_insert_with(|| Served::new(file, config, &policies));
            }
        }
        Ok(Self(Arc::new(served)))
    }
}

/// The routes of this function.
pub fn router(page: Page) -> Router {
    let paths: Vec<String> = page.0.keys().filter(|path| !path.starts_with("/a/")).cloned().collect();
    let files = paths.iter().fold(Router::<Page>::new(), |routes, path| routes.route(path, get(file)));
    let routes = files.route("/a/{hash}/{*file}", get(file)).with_state(page);
    // The files of the description are named relative to its folder.
    routes.route("/docs", get(async || Redirect::permanent("/docs/")))
}

async fn file(State(Page(served)): State<Page>, uri: Uri, request: HeaderMap) -> Response {
    match served.get(uri.path()) {
        Some(file) => file.answer(&request),
        None if is_script_of_another_version(uri.path(), &request) => reload(),
        None => Problem::NotFound.into_response(),
    }
}

/// Whether a page wants to run a script that this version does not have. A service worker that fills its cache does not run what it asks for, and
/// must get a 404, so that it keeps no mixture of versions.
fn is_script_of_another_version(path: &str, request: &HeaderMap) -> bool {
    let is_of_another = path.split('/').nth(2).is_some_and(|hash| hash != HASH);
    is_of_another && path.ends_with(".js") && request.get("sec-fetch-dest").is_some_and(|dest| dest == "script")
}

fn reload() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "sec-fetch-dest"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, RELOAD).into_response()
}

impl Served {
    fn new(file: &File, config: &PageConfig, policies: &Policies) -> Self {
        let mut headers = policies.of(file.url);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
        let kept = if file.url.starts_with("/a/") { FOREVER } else { COMPARED };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
        let identity = if file.is_template { filled(file.identity, config) } else { Bytes::from_static(file.identity) };
        // With the headers, because a browser keeps those of the answer that it has.
        let version = version(&identity, &headers);
        let gzip = if file.is_template { compressed(&identity) } else { Bytes::from_static(file.gzip) };
        let compressed = [("br", Bytes::from_static(file.br)), ("gzip", gzip)].into_iter();
        let compressed = compressed.filter(|(_, body)| !body.is_empty()).map(|(encoding, body)| Variant {
            encoding: Some(encoding),
            etag: etag(&format!("{version}-{encoding}")),
            body,
        });
        let mut variants: Vec<Variant> = compressed.collect();
        if !variants.is_empty() {
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        variants.push(Variant { encoding: None, etag: etag(&version), body: identity });
        Self { headers, variants }
    }

    fn answer(&self, request: &HeaderMap) -> Response {
        let accepted = self
            .variants
            .iter()
            .find(|variant| variant.encoding.is_none_or(|encoding| encoding::accepts(request, encoding)));
        let variant = accepted.expect("the last one has no encoding");
        let is_known = listed(request, header::IF_NONE_MATCH)
            .any(|etag| etag == "*" || variant.etag == etag.strip_prefix("W/").unwrap_or(etag));
        let mut answer = Response::new(if is_known { Body::empty() } else { Body::from(variant.body.clone()) });
        *answer.headers_mut() = self.headers.clone();
        answer.headers_mut().insert(header::ETAG, variant.etag.clone());
        if is_known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else if let Some(encoding) = variant.encoding {
            answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        answer
    }
}

/// A file with the settings in place of its placeholders.
fn filled(template: &[u8], config: &PageConfig) -> Bytes {
    let text = str::from_utf8(template).expect("build.rs found a placeholder in it");
    let text = text.replace("{{META}}", &config.meta()).replace("{{PRECONNECT}}", &config.preconnect());
    text.replace("{{OPENAPI_URL}}", &config.openapi_url()).into()
}

fn compressed(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("memory can be written");
    encoder.finish().expect("memory can be written").into()
}

/// Identifies an answer.
fn version(body: &[u8], headers: &HeaderMap) -> String {
    let mut hash = Sha256::new();
    for (name, value) in headers {
        hash.update(name.as_str());
        hash.update(value);
    }
    hash.update(body);
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn etag(version: &str) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("it is letters and digits")
}

/// The items of a header that is a list.
fn listed(request: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = request.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
