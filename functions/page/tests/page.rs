//! `page` through its router: the files, their encodings and their headers.

#[path = "../build/strip.rs"]
mod strip;
#[path = "../build/styles.rs"]
mod styles;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use clap::Parser as _;
use flate2::read::GzDecoder;
use page::{Page, PageConfig};
use shared::serve::{Host, complete};
use tower::ServiceExt as _;

/// The most bytes that a first load may have, compressed.
const BUDGET: usize = 60_000;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; \
                      worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types punctual";

fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("web")
}

fn routes(settings: &[&str]) -> Router {
    let config = PageConfig::try_parse_from(["page"].iter().chain(settings)).unwrap();
    complete(page::router(Page::new(&config).unwrap()), Host::default())
}

/// An answer with its body.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

async fn ask(routes: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = answer.into_parts();
    Answer { status: head.status, headers: head.headers, body: to_bytes(body, 16 << 20).await.unwrap().into() }
}

async fn get(routes: &Router, path: &str) -> Answer {
    ask(routes, "GET", path, &[]).await
}

/// The addresses below `/a/` that a text names.
fn assets(text: &str) -> BTreeSet<String> {
    named(text).filter(|path| path.starts_with("/a/")).map(str::to_owned).collect()
}

/// The paths of files that a text names.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let is_file = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    text.split('"').filter(|part| part.starts_with('/') && !part.contains([' ', '#'])).filter(is_file)
}

/// The files of `web/a/` as they are served, by their paths below `web/`.
fn served() -> styles::Files {
    let folder = web();
    let path = |file: &Path| file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
    let mut served: styles::Files = files(&folder).into_iter().map(|(file, content)| (path(&file), content)).collect();
    styles::join(&mut served).unwrap();
    served.retain(|path, _| path.starts_with("a/") && !path.ends_with(".d.ts"));
    for (path, content) in &mut served {
        *content = stripped(path, content);
    }
    served
}

fn stripped(path: &str, content: &[u8]) -> Vec<u8> {
    match path.rsplit_once('.') {
        _ if path.contains("/vendor/") => content.to_vec(),
        Some((_, "js")) => strip::script(content).unwrap(),
        Some((_, "css")) => strip::style(content).unwrap(),
        _ => content.to_vec(),
    }
}

/// The files below a folder of `web/`, by their paths.
fn files(below: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![below.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

#[tokio::test]
async fn the_page_has_the_headers_that_restrict_it() {
    let page = get(&routes(&[]), "/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-cache");
    assert_eq!(page.header("content-security-policy"), POLICY);
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
    assert!(page.header("permissions-policy").contains("camera=()"));
    assert!(page.text().contains(r#"<meta name="punctual" data-api="" "#), "{}", page.text());

    let elsewhere = routes(&[
        "--api-url=https://api.example/base",
        "--updates-url=https://live.example",
        "--oidc-issuer=https://id.example/realms/a",
        "--oidc-client-id=page",
        "--oidc-origins=https://login.example,https://api.example",
    ]);
    let page = get(&elsewhere, "/").await;
    let called =
        "connect-src 'self' https://api.example https://id.example https://live.example https://login.example;";
    assert!(page.header("content-security-policy").contains(called), "{}", page.header("content-security-policy"));
    assert!(
        page.text().contains(r#"data-api="https://api.example/base" data-updates="https://live.example/v1/updates""#)
    );
    // The service worker calls the API by the policy of its own script.
    let worker = get(&elsewhere, "/sw.js").await;
    assert_eq!(worker.header("content-security-policy"), page.header("content-security-policy"));
    assert_eq!(worker.header("cache-control"), "no-cache");
}

#[tokio::test]
async fn the_description_of_the_api_is_shown_in_an_origin_without_a_session() {
    let routes = routes(&["--api-url=https://api.example"]);
    let moved = get(&routes, "/docs").await;
    assert_eq!((moved.status, moved.header("location")), (StatusCode::PERMANENT_REDIRECT, "/docs/"));
    let docs = get(&routes, "/docs/").await;
    assert_eq!(docs.status, StatusCode::OK);
    let policy = docs.header("content-security-policy");
    assert!(policy.starts_with("sandbox allow-scripts; default-src 'none'; script-src 'self'; "), "{policy}");
    assert!(policy.contains("connect-src 'self' https://api.example; "), "{policy}");
    assert!(!policy.contains("allow-same-origin"), "{policy}");
    assert_eq!(docs.header("access-control-allow-origin"), "*");
    assert!(docs.text().contains("https://api.example/openapi.json"));
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let routes = routes(&[]);
    for path in ["/", "/manifest.webmanifest", "/icon.svg", "/docs/", "/robots.txt", "/favicon.ico"] {
        let first = get(&routes, path).await;
        assert_eq!(first.status, StatusCode::OK, "{path}");
        let etag = first.header("etag");
        for known in [etag, format!("W/{etag}").as_str(), format!("\"other\", {etag}").as_str(), "*"] {
            let again = ask(&routes, "GET", path, &[("if-none-match", known)]).await;
            assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0), "{path} {known}");
            assert_eq!(again.header("etag"), etag);
            assert_eq!(again.header("cache-control"), "no-cache");
            assert_eq!(again.header("content-security-policy"), first.header("content-security-policy"));
        }
        assert_eq!(ask(&routes, "GET", path, &[("if-none-match", "\"other\"")]).await.status, StatusCode::OK);
    }
    // Other settings are another page.
    let other = get(&self::routes(&["--oidc-origins=https://id.example"]), "/").await;
    assert_ne!(other.header("etag"), get(&routes, "/").await.header("etag"));
}

#[tokio::test]
async fn every_encoding_decodes_to_the_file() {
    let routes = routes(&[]);
    let page = get(&routes, "/").await;
    let prefix = assets(page.text()).pop_first().unwrap().split('/').take(3).collect::<Vec<_>>().join("/");
    let mut compressed = 0;
    for (path, content) in served() {
        let path = path.replacen('a', &prefix, 1);
        let mut etags = BTreeSet::new();
        for accepted in ["", "identity", "gzip", "gzip, deflate, br, zstd", "br;q=0, gzip;q=0.5", "br;q=0"] {
            let answer = ask(&routes, "GET", &path, &[("accept-encoding", accepted)]).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
            let decoded = match answer.header("content-encoding") {
                "br" => {
                    assert!(accepted.contains("br,"), "{accepted}");
                    let mut decoded = Vec::new();
                    brotli::BrotliDecompress(&mut &answer.body[..], &mut decoded).unwrap();
                    decoded
                }
                "gzip" => {
                    assert!(accepted.contains("gzip"), "{accepted}");
                    let mut decoded = Vec::new();
                    GzDecoder::new(&answer.body[..]).read_to_end(&mut decoded).unwrap();
                    decoded
                }
                encoding => {
                    assert_eq!(encoding, "");
                    answer.body.clone()
                }
            };
            assert!(decoded == content, "{path} as {accepted}");
            etags.insert(answer.header("etag").to_owned());
            let head = ask(&routes, "HEAD", &path, &[("accept-encoding", accepted)]).await;
            assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
            assert_eq!(head.header("content-length"), answer.body.len().to_string());
            assert_eq!(head.header("etag"), answer.header("etag"));
        }
        if etags.len() > 1 {
            compressed += 1;
            assert_eq!(get(&routes, &path).await.header("vary"), "accept-encoding", "{path}");
        }
    }
    assert!(compressed > 10, "{compressed}");
}

#[tokio::test]
async fn a_script_of_another_version_reloads_the_page_and_nothing_else_of_it_exists() {
    let routes = routes(&[]);
    let nothing: &[(&str, &str)] = &[];
    let script = &[("sec-fetch-dest", "script")][..];
    let reload = ask(&routes, "GET", "/a/0123456789abcdef/app.js", script).await;
    assert_eq!((reload.status, reload.header("cache-control")), (StatusCode::OK, "no-store"));
    assert!(
        reload.text().contains("location.reload()") && reload.header("content-type").starts_with("text/javascript")
    );
    let page = get(&routes, "/").await;
    let current = assets(page.text()).pop_first().unwrap();
    let current = current.rsplit_once('/').unwrap().0;
    for (path, headers) in [
        ("/a/0123456789abcdef/app.js".to_owned(), nothing),
        ("/a/0123456789abcdef/app.js".to_owned(), &[("sec-fetch-dest", "empty")]),
        ("/a/0123456789abcdef/first.css".to_owned(), script),
        (format!("{current}/base.css"), nothing),
        (format!("{current}/nothing.js"), script),
        (format!("{current}/vendor/preact.d.ts"), nothing),
        ("/a/".to_owned(), script),
        ("/nothing".to_owned(), nothing),
        ("/index.html".to_owned(), nothing),
        ("/api-types.d.ts".to_owned(), nothing),
        ("/docs/nothing".to_owned(), nothing),
        ("/a/../sw.js".to_owned(), nothing),
    ] {
        let answer = ask(&routes, "GET", &path, headers).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
    }
    assert_eq!(ask(&routes, "POST", "/", &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn no_placeholder_is_left_and_everything_that_is_named_exists() {
    let routes = routes(&[]);
    let mut found = BTreeSet::new();
    for path in ["/", "/sw.js", "/manifest.webmanifest", "/docs/"] {
        let answer = get(&routes, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let text = answer.text();
        let is_placeholder = |part: &str| part.starts_with(|c: char| c.is_ascii_uppercase());
        assert!(!text.split("{{").skip(1).any(is_placeholder), "{path}");
        found.extend(named(text).filter(|path| *path != "/openapi.json").map(str::to_owned));
    }
    assert!(found.len() > 10, "{found:?}");
    for path in found {
        assert_eq!(get(&routes, &path).await.status, StatusCode::OK, "{path}");
    }
    // The service worker keeps every file of the page, and each once.
    let kept = assets(get(&routes, "/sw.js").await.text());
    let prefix = kept.first().unwrap().split('/').take(3).collect::<Vec<_>>().join("/");
    let files = served().into_keys().filter(|path| path.contains('.'));
    let expected = files.map(|path| path.replacen('a', &prefix, 1));
    assert_eq!(kept, expected.collect());
}

#[test]
fn every_import_exists() {
    let mut seen = 0;
    for (file, content) in files(&web()) {
        if file.extension().is_none_or(|extension| extension != "js")
            || file.components().any(|part| part.as_os_str() == "vendor")
        {
            continue;
        }
        let text = String::from_utf8(content).unwrap();
        let code =
            text.lines().filter(|line| !line.trim_start().starts_with(['*', '/'])).collect::<Vec<_>>().join("\n");
        for keyword in ["from \"", "import \"", "import(\""] {
            let targets = code.split(keyword).skip(1).filter_map(|rest| rest.split('"').next());
            for target in targets.filter(|target| target.starts_with('.') && target.ends_with(".js")) {
                seen += 1;
                assert!(file.with_file_name(target).exists(), "{} imports {target}", file.display());
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

#[tokio::test]
async fn the_first_load_is_within_its_budget() {
    let routes = routes(&[]);
    let page = get(&routes, "/").await;
    let assets = assets(page.text());
    assert!(assets.len() > 10, "{assets:?}");
    let page = ask(&routes, "GET", "/", &[("accept-encoding", "br, gzip")]).await;
    let mut weights = vec![(page.body.len(), "/".to_owned())];
    for path in assets {
        let answer = ask(&routes, "GET", &path, &[("accept-encoding", "br")]).await;
        weights.push((answer.body.len(), path));
    }
    let weight: usize = weights.iter().map(|(weight, _)| weight).sum();
    weights.sort();
    println!("the first load weighs {weight} bytes in {} files", weights.len());
    assert!(weight <= BUDGET, "{weight} bytes: {weights:#?}");
}

/// One hash names all files, so that a page never mixes two versions.
#[tokio::test]
async fn all_files_have_one_hash_which_changes_with_any_of_them() {
    let page = get(&routes(&[]), "/").await;
    let hashes: BTreeSet<String> =
        assets(page.text()).iter().map(|path| path.split('/').nth(2).unwrap().to_owned()).collect();
    assert_eq!(hashes.len(), 1, "{hashes:?}");
    let mut files = served();
    assert_eq!(hashes, [hash(&files)].into(), "not the hash of these files");
    files.values_mut().next().unwrap().push(b'x');
    assert_ne!(hashes, [hash(&files)].into());
}

/// As `build.rs` computes it.
fn hash(files: &styles::Files) -> String {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    for (path, content) in files {
        for part in [path.as_bytes(), content.as_slice()] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
