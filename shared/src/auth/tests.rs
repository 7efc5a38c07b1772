use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router, extract::State, http::Request, routing::get};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use super::*;

mod providers;

const SECRET: &str = "an HS256 secret of 32 bytes or more";
const ISSUER: &str = "https://id.example/";
/// PKCS #8.
const EC_PRIVATE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgy+79w048tPtYI+28+NtjCGKqDo2xhRZCZMw9tMzzDvOhRANCAATZ\
    D7qJ5t+ZmGTBAwWP2oeJhIH/bMxFow5ZOK52XsZrxTWevR0HKSti85Ts9o7eHNY3avd8er2g/dGwjjaJqWIM";
const EC_X: &str = "2Q-6iebfmZhkwQMFj9qHiYSB_2zMRaMOWTiudl7Ga8U";
const EC_Y: &str = "NZ69HQcpK2LzlOz2jt4c1jdq93x6vaD90bCONompYgw";

fn auth(arguments: &[&str]) -> Auth {
    let arguments = std::iter::once(&"test").chain(arguments);
    Auth::new(AuthConfig::try_parse_from(arguments).unwrap()).unwrap()
}

fn hs256() -> Auth {
    auth(&["--jwt-secret", SECRET])
}

fn claims() -> Value {
    json!({"sub": Uuid::from_u128(7), "email": "ada@example.org", "exp": in_seconds(600)})
}

/// The user of [`claims`].
fn ada() -> User {
    let email = Address::parse("ada@example.org").unwrap();
    User { id: Uuid::from_u128(7), email, issued_at: None, operator: false }
}

fn in_seconds(seconds: i64) -> i64 {
    chrono::Utc::now().timestamp() + seconds
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

fn token(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// Checks tokens with the keys published at `url`.
fn jwks(url: &str, more: &[&str]) -> Auth {
    auth(&[&["--jwks-url", url, "--jwt-issuer", ISSUER, "--jwt-audience", "punctual"], more].concat())
}

/// Claims with what a provider adds to them.
fn provided(claims: &Value) -> Value {
    let mut all = json!({"iss": ISSUER, "aud": "punctual", "email_verified": true});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    all
}

fn ec_token(kid: &str, claims: &Value) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) };
    let key = EncodingKey::from_ec_der(&BASE64_STANDARD.decode(EC_PRIVATE).unwrap());
    jsonwebtoken::encode(&header, &provided(claims), &key).unwrap()
}

/// Signs nothing: header and claims as given.
fn unsigned(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

async fn refused(auth: &Auth, token: &str) -> &'static str {
    match auth.check(token).await {
        Err(Problem::BadToken(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_valid_token_identifies_its_user() {
    let user = hs256().check(&token(&claims())).await.unwrap();
    assert_eq!(user, ada());
}

#[tokio::test]
async fn a_token_signed_for_a_user_identifies_that_user() {
    let issued_at = DateTime::from_timestamp(1_700_000_000, 0);
    let email = Address::parse("op@example.org").unwrap();
    let user = User { id: Uuid::from_u128(9), email, issued_at, operator: true };
    let token = sign(&SECRET.into(), &user, chrono::Utc::now() + chrono::TimeDelta::hours(1)).unwrap();
    assert_eq!(hs256().check(&token).await.unwrap(), user);
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    for (exp, second) in [(json!(4_102_444_800_u32), 4_102_444_800), (json!(4_102_444_800.4), 4_102_444_800)] {
        let session = hs256().session(&token(&with(|claims| claims["exp"] = exp))).await.unwrap();
        assert_eq!((session.user, session.expires_at.timestamp()), (ada(), second));
    }
    let never = hs256().session(&token(&with(|claims| claims["exp"] = 1e18.into()))).await.unwrap();
    assert_eq!(never.expires_at, DateTime::<Utc>::MAX_UTC);
}

#[tokio::test]
async fn operator_is_a_whole_word_of_scope() {
    for (scope, operator) in [("operator", true), ("tasks operator", true), ("operators", false), ("", false)] {
        let token = token(&with(|claims| claims["scope"] = scope.into()));
        assert_eq!(hs256().check(&token).await.unwrap().operator, operator, "{scope}");
    }
}

#[tokio::test]
async fn invalid_claims_are_refused() {
    let auth = hs256();
    let remove = |name: &'static str| move |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove(name));
    for (claims, why) in [
        (with(|claims| claims["exp"] = in_seconds(-31).into()), "the token has expired"),
        (with(|claims| claims["nbf"] = in_seconds(60).into()), "the token is not valid yet"),
        (with(remove("email")), "the token has no email"),
        (with(|claims| claims["sub"] = "".into()), "the token's sub must have 1 to 255 bytes"),
        (with(|claims| claims["sub"] = "x".repeat(256).into()), "the token's sub must have 1 to 255 bytes"),
        (with(|claims| claims["email"] = "\"a b\"@example.test".into()), "the token's email is not an address"),
        (with(|claims| claims["email"] = "a@[127.0.0.1]".into()), "the token's email is not an address"),
        (with(|claims| claims["iat"] = in_seconds(60).into()), "the token's iat is in the future, or is not a time"),
        (with(|claims| claims["iat"] = (-1).into()), "the token's iat is in the future, or is not a time"),
        (with(|claims| claims["email"] = "ada".into()), "the token's email is not an address"),
        (with(|claims| claims["email"] = "jörg@example.com".into()), "the token's email is not an address"),
        (with(|claims| claims["email"] = "a@b\r\nBcc: c@d".into()), "the token's email is not an address"),
        (with(|claims| claims["email"] = "a\0@b".into()), "the token's email is not an address"),
    ] {
        assert_eq!(refused(&auth, &token(&claims)).await, why);
    }
    for name in ["exp", "sub"] {
        refused(&auth, &token(&with(remove(name)))).await;
    }
    refused(&auth, &token(&with(|claims| claims["exp"] = "tomorrow".into()))).await;
    refused(&auth, &token(&with(|claims| claims["exp"] = (-1).into()))).await;
}

#[tokio::test]
async fn hostile_tokens_are_refused() {
    let auth = hs256();
    let none = unsigned(&json!({"alg": "none", "typ": "JWT"}), &claims(), "");
    let good = token(&claims());
    let (rest, _) = good.rsplit_once('.').unwrap();
    let crit = Header { crit: Some(vec!["exp".to_owned()]), ..Header::default() };
    let crit = jsonwebtoken::encode(&crit, &claims(), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    let other = jsonwebtoken::encode(&Header::default(), &claims(), &EncodingKey::from_secret(b"another")).unwrap();
    let longer =
        jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims(), &EncodingKey::from_secret(SECRET.as_bytes()));
    for hostile in
        [none, format!("{rest}."), format!("{good}a"), crit, other, longer.unwrap(), "a.b.c".into(), "".into()]
    {
        refused(&auth, &hostile).await;
    }
    let large = token(&with(|claims| claims["padding"] = "x".repeat(1 << 20).into()));
    assert_eq!(refused(&auth, &large).await, "the token is larger than 8 KB");
}

/// A token's parts as text, not as a library would write them.
fn hand_made(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn a_duplicate_claim_or_header_is_refused() {
    let auth = hs256();
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let good = claims().to_string();
    auth.check(&hand_made(header, &good)).await.unwrap();
    let other = Uuid::from_u128(8);
    for claims in [
        good.replacen('{', &format!("{{\"sub\":\"{other}\","), 1),
        good.replacen('}', &format!(",\"sub\":\"{other}\"}}"), 1),
        good.replacen('}', ",\"exp\":9999999999}", 1),
        good.replacen('}', ",\"email\":\"bob@example.org\"}", 1),
        good.replacen('}', ",\"scope\":\"x\",\"scope\":\"operator\"}", 1),
    ] {
        refused(&auth, &hand_made(header, &claims)).await;
    }
    refused(&auth, &hand_made(r#"{"alg":"HS256","alg":"none"}"#, &good)).await;
    refused(&auth, &hand_made(r#"{"alg":"none","alg":"HS256"}"#, &good)).await;
}

#[tokio::test]
async fn a_key_named_in_the_header_of_a_token_is_never_fetched_or_used() {
    let (url, asked) = provider(json!([ec_key("one")])).await;
    let auth_keys = jwks(&url, &[]);
    // A provider of the attacker's, with the attacker's key: nobody may ask it.
    let (evil, asked_evil) = provider(json!([ec_key("evil")])).await;
    let key = EncodingKey::from_ec_der(&BASE64_STANDARD.decode(EC_PRIVATE).unwrap());
    for header in [
        Header { jku: Some(evil.clone()), kid: Some("evil".to_owned()), ..Header::new(Algorithm::ES256) },
        Header { x5u: Some(evil.clone()), kid: Some("evil".to_owned()), ..Header::new(Algorithm::ES256) },
        Header {
            jwk: Some(serde_json::from_value(ec_key("evil")).unwrap()),
            kid: Some("evil".to_owned()),
            ..Header::new(Algorithm::ES256)
        },
        Header { kid: Some("../../../../dev/null".to_owned()), ..Header::new(Algorithm::ES256) },
        Header { kid: Some("one' or '1'='1".to_owned()), ..Header::new(Algorithm::ES256) },
        Header { kid: Some("one\0".to_owned()), ..Header::new(Algorithm::ES256) },
        Header { kid: Some(String::new()), ..Header::new(Algorithm::ES256) },
        Header { kid: Some("x".repeat(7_000)), ..Header::new(Algorithm::ES256) },
    ] {
        let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        let why = refused(&auth_keys, &token).await;
        assert!(why.contains("a key that is not known") || why.contains("larger than 8 KB"), "{why}");
    }
    assert_eq!((asked.load(Ordering::Relaxed), asked_evil.load(Ordering::Relaxed)), (1, 0));
    // The same header beside the right key id changes nothing about which key it is checked with.
    let header = Header { jku: Some(evil), kid: Some("one".to_owned()), ..Header::new(Algorithm::ES256) };
    let other = with(|claims| claims["sub"] = Uuid::from_u128(9).to_string().into());
    auth_keys.check(&jsonwebtoken::encode(&header, &provided(&other), &key).unwrap()).await.unwrap();
    assert_eq!(asked_evil.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn numeric_dates_out_of_range_are_refused() {
    let auth = hs256();
    let header = r#"{"alg":"HS256"}"#;
    for exp in ["1e400", "1e30", "-1", "18446744073709551616", "null", "[]", "true", "9999999999.5e999"] {
        let claims = format!(r#"{{"sub":"{}","email":"ada@example.org","exp":{exp}}}"#, Uuid::from_u128(7));
        refused(&auth, &hand_made(header, &claims)).await;
    }
    for nbf in [r#""soon""#, "1e400"] {
        let claims = claims().to_string().replacen('}', &format!(",\"nbf\":{nbf}}}"), 1);
        refused(&auth, &hand_made(header, &claims)).await;
    }
}

proptest::proptest! {
    /// No text is a token but one that was signed, and none makes the check panic.
    #[test]
    fn no_text_but_a_signed_token_is_accepted(text in proptest::prelude::any::<Vec<u8>>(), cut in 0usize..400, flip in 0u8..=255, place in 0usize..400) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let good = token(&claims());
        let mut changed = good.clone().into_bytes();
        let at = place % changed.len();
        changed[at] ^= flip;
        let text = String::from_utf8_lossy(&text).into_owned();
        let part = BASE64_URL_SAFE_NO_PAD.encode(&text);
        let changed = String::from_utf8_lossy(&changed).into_owned();
        for hostile in [
            text.clone(),
            format!("{part}.{part}.{part}"),
            hand_made(&text, &claims().to_string()),
            hand_made(r#"{"alg":"HS256"}"#, &text),
            good[..cut.min(good.len() - 1)].to_owned(),
            changed,
        ] {
            if hostile == good { continue; }
            let outcome = runtime.block_on(hs256().check(&hostile));
            proptest::prop_assert!(outcome.is_err(), "{hostile} got in");
        }
    }
}

#[tokio::test]
async fn issuer_and_audience_must_match_where_configured() {
    let auth = auth(&["--jwt-secret", SECRET, "--jwt-issuer", "https://id.example", "--jwt-audience", "punctual"]);
    let named = |issuer: &str, audience: Value| {
        token(&with(|claims| {
            claims["iss"] = issuer.into();
            claims["aud"] = audience;
        }))
    };
    auth.check(&named("https://id.example", json!("punctual"))).await.unwrap();
    auth.check(&named("https://id.example", json!(["other", "punctual"]))).await.unwrap();
    assert_eq!(
        refused(&auth, &named("https://evil.example", json!("punctual"))).await,
        "the token is from another issuer"
    );
    assert_eq!(refused(&auth, &named("https://id.example", json!("other"))).await, "the token is for another audience");
    refused(&auth, &token(&claims())).await;
    // Where none is configured, a token may name any.
    hs256().check(&named("https://evil.example", json!("other"))).await.unwrap();
}

#[tokio::test]
async fn a_request_without_one_bearer_token_has_no_user() {
    let auth = hs256();
    let good = format!("Bearer {}", token(&claims()));
    for headers in [vec![], vec!["Basic YTpi".to_owned()], vec!["Bearer".to_owned()], vec![good.clone(), good.clone()]]
    {
        let request =
            headers.iter().fold(Request::builder(), |request, header| request.header("authorization", header));
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let user = User::from_request_parts(&mut parts, &auth).await;
        assert!(matches!(user, Err(Problem::NoToken)), "{headers:?}");
    }
    let (mut parts, ()) =
        Request::builder().header("authorization", good.replacen("Bearer", "bearer", 1)).body(()).unwrap().into_parts();
    User::from_request_parts(&mut parts, &auth).await.unwrap();
}

/// A provider that publishes `keys` and counts who asks.
async fn provider(keys: Value) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = async |State((asked, keys)): State<(Arc<AtomicUsize>, Value)>| {
        asked.fetch_add(1, Ordering::Relaxed);
        Json(json!({ "keys": keys }))
    };
    let routes = Router::new().route("/jwks", get(answer)).with_state((asked.clone(), keys));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, routes).await });
    (url, asked)
}

fn ec_key(kid: &str) -> Value {
    json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": EC_X, "y": EC_Y, "use": "sig", "alg": "ES256"})
}

#[tokio::test]
async fn published_keys_are_fetched_once_and_an_unknown_id_does_not_fetch_again_at_once() {
    let (url, asked) = provider(json!([ec_key("one"), {"kty": "strange", "kid": "two"}])).await;
    let auth = jwks(&url, &[]);
    assert_eq!(asked.load(Ordering::Relaxed), 0, "fetched before anybody needed it");
    for _ in 0..3 {
        auth.check(&ec_token("one", &claims())).await.unwrap();
        assert_eq!(refused(&auth, &ec_token("three", &claims())).await, "the token names a key that is not known");
        refused(&auth, &ec_token("two", &claims())).await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_published_key_is_never_a_secret() {
    let shared = json!({"kty": "oct", "kid": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode(SECRET)});
    let (url, _) = provider(json!([ec_key("one"), shared])).await;
    let auth = jwks(&url, &[]);
    let hs = |kid: &str, secret: &[u8]| {
        let header = Header { kid: Some(kid.to_owned()), ..Header::default() };
        jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let point =
        [&[4][..], &BASE64_URL_SAFE_NO_PAD.decode(EC_X).unwrap(), &BASE64_URL_SAFE_NO_PAD.decode(EC_Y).unwrap()];
    for hostile in [
        hs("one", &point.concat()),
        hs("one", EC_X.as_bytes()),
        hs("oct", SECRET.as_bytes()),
        unsigned(&json!({"alg": "none", "kid": "one"}), &claims(), ""),
    ] {
        refused(&auth, &hostile).await;
    }
}

#[tokio::test]
async fn the_algorithm_of_a_published_key_is_honoured() {
    let mut key = ec_key("one");
    key["alg"] = "ES384".into();
    let (url, _) = provider(json!([key])).await;
    refused(&jwks(&url, &[]), &ec_token("one", &claims())).await;
    let mut key = ec_key("one");
    key["use"] = "enc".into();
    let (url, _) = provider(json!([key])).await;
    refused(&jwks(&url, &[]), &ec_token("one", &claims())).await;
}

#[tokio::test]
async fn an_unreachable_provider_is_answered_503() {
    let auth = jwks("http://127.0.0.1:1/jwks", &[]);
    assert!(matches!(auth.check(&ec_token("one", &claims())).await, Err(Problem::Unavailable(_))));
}

#[test]
fn exactly_one_kind_of_key_is_configured() {
    let parsed = |arguments: &[&str]| AuthConfig::try_parse_from(std::iter::once(&"test").chain(arguments));
    assert!(parsed(&[]).is_err());
    assert!(parsed(&["--jwt-secret", SECRET, "--jwks-url", "https://id.example"]).is_err());
    assert!(Auth::new(parsed(&["--jwt-secret", "short"]).unwrap()).is_err());
    let file = ["--jwks-url", "file:///etc/passwd", "--jwt-issuer", ISSUER, "--jwt-audience", "punctual"];
    assert!(Auth::new(parsed(&file).unwrap()).is_err());
}

#[test]
fn published_keys_need_an_issuer_and_an_audience() {
    const URL: [&str; 2] = ["--jwks-url", "https://id.example/keys"];
    let parsed = |more: &[&str]| AuthConfig::try_parse_from([&["test"], &URL[..], more].concat());
    for lacking in [&[][..], &["--jwt-issuer", ISSUER], &["--jwt-audience", "punctual"]] {
        let Err(error) = Auth::new(parsed(lacking).unwrap()) else { panic!("{lacking:?}") };
        let line = format!("{error:#}");
        assert!(line.starts_with("JWKS_URL requires JWT_ISSUER and JWT_AUDIENCE") && !line.contains('\n'), "{line}");
    }
    assert!(parsed(&["--jwt-issuer", "", "--jwt-audience", "punctual"]).is_err(), "an empty issuer is none");
    assert!(Auth::new(parsed(&["--jwt-issuer", ISSUER, "--jwt-audience", "punctual"]).unwrap()).is_ok());
}

/// A token with this `typ` in its header.
fn of_kind(kind: &str) -> String {
    let header = Header { typ: Some(kind.to_owned()), ..Header::default() };
    jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

#[tokio::test]
async fn only_a_token_of_a_known_kind_is_accepted() {
    for kind in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"] {
        hs256().check(&of_kind(kind)).await.unwrap();
    }
    hs256().check(&hand_made(r#"{"alg":"HS256"}"#, &claims().to_string())).await.unwrap();
    for kind in ["logout+jwt", "dpop+jwt", "secevent+jwt", "JWE", "", "application/", "at+jwtx", "äpplication/jwt"] {
        let why = refused(&hs256(), &of_kind(kind)).await;
        assert_eq!(why, "this is not an access token: its typ is neither JWT nor at+jwt", "{kind}");
    }
}

#[tokio::test]
async fn an_id_token_is_refused_unless_configured() {
    let allowed = auth(&["--jwt-secret", SECRET, "--jwt-id-tokens", "true"]);
    for more in [
        json!({"nonce": "n-0S6_WzA2Mj"}),
        json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"}),
        json!({"c_hash": "LDktKdoQak3Pk0cnXxCltA"}),
        json!({"typ": "ID"}),       // Keycloak
        json!({"token_use": "id"}), // Cognito
    ] {
        let token = token(&with(|claims| claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone())));
        assert_eq!(refused(&hs256(), &token).await, "this is an ID token: send an access token for this API", "{more}");
        allowed.check(&token).await.unwrap();
    }
    // Access tokens of Keycloak, which may repeat the nonce, and of Cognito; and a claim that means something else.
    for more in [json!({"typ": "Bearer", "nonce": "n"}), json!({"token_use": "access"}), json!({"typ": 7})] {
        let token = token(&with(|claims| claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone())));
        hs256().check(&token).await.unwrap();
    }
}

#[tokio::test]
async fn an_address_that_the_provider_has_not_verified_is_refused() {
    const NOT: &str = "the token's email is not verified: email_verified is not true";
    const SILENT: &str = "the token does not say that its email is verified: no email_verified";
    let (url, _) = provider(json!([ec_key("one")])).await;
    let (secret, keys) = (hs256(), jwks(&url, &[]));
    let lenient = jwks(&url, &["--jwt-email-verified-required", "false"]);
    let strict = auth(&["--jwt-secret", SECRET, "--jwt-email-verified-required", "true"]);
    let says = |verified: Value| with(|claims| claims["email_verified"] = verified);
    for verified in [json!(true), json!("true")] {
        for auth in [&secret, &strict] {
            auth.check(&token(&says(verified.clone()))).await.unwrap();
        }
        for auth in [&keys, &lenient] {
            auth.check(&ec_token("one", &says(verified.clone()))).await.unwrap();
        }
    }
    for verified in [json!(false), json!("false"), json!("no"), json!(0), json!(1), json!([])] {
        for auth in [&secret, &strict] {
            assert_eq!(refused(auth, &token(&says(verified.clone()))).await, NOT, "{verified}");
        }
        for auth in [&keys, &lenient] {
            assert_eq!(refused(auth, &ec_token("one", &says(verified.clone()))).await, NOT, "{verified}");
        }
    }
    secret.check(&token(&claims())).await.unwrap();
    lenient.check(&ec_token("one", &says(Value::Null))).await.unwrap();
    assert_eq!(refused(&strict, &token(&claims())).await, SILENT);
    assert_eq!(refused(&keys, &ec_token("one", &says(Value::Null))).await, SILENT);
}

#[tokio::test]
async fn numeric_dates_may_have_a_fraction_or_an_exponent() {
    let header = r#"{"alg":"HS256"}"#;
    let made = |times: &str| hand_made(header, &claims().to_string().replacen('}', &format!(",{times}}}"), 1));
    let exp =
        |exp: &str| hand_made(header, &format!(r#"{{"sub":"{}","email":"ada@example.org","exp":{exp}}}"#, ada().id));
    let auth = hs256();
    for good in
        [exp("4102444800.5"), exp("4.1024448e9"), exp("4.1024448E+9"), made(r#""nbf":1.5"#), made(r#""nbf":1e9"#)]
    {
        assert_eq!(auth.check(&good).await.unwrap(), ada());
    }
    for (iat, micros) in [("1700000000", 0), ("1.7e9", 0), ("1700000000.25", 250_000)] {
        let user = auth.check(&made(&format!(r#""iat":{iat}"#))).await.unwrap();
        assert_eq!(user.issued_at, DateTime::from_timestamp_micros(1_700_000_000_000_000 + micros), "{iat}");
    }
    assert_eq!(refused(&auth, &exp("1.0e9")).await, "the token has expired");
    assert_eq!(refused(&auth, &made(r#""nbf":4.1e9"#)).await, "the token is not valid yet");
    for iat in ["1e300", "1e9999", "-0.5", r#""now""#, "[]"] {
        refused(&auth, &made(&format!(r#""iat":{iat}"#))).await;
    }
}

#[tokio::test]
async fn the_operators_scope_is_found_wherever_providers_write_it() {
    let (url, _) = provider(json!([ec_key("one")])).await;
    let named = jwks(&url, &["--jwt-operator-scope", "https://punctual.example/operator"]);
    let keys = jwks(&url, &[]);
    let is_operator = async |auth: &Auth, more: &Value| {
        let claims = with(|claims| claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone()));
        auth.check(&ec_token("one", &claims)).await.unwrap().operator
    };
    for claim in ["scope", "scp", "roles"] {
        for (words, wanted) in [
            (json!("openid https://punctual.example/operator"), true),
            (json!(["openid", "https://punctual.example/operator"]), true),
            (json!(["openid https://punctual.example/operator"]), true),
            (json!(["operator"]), false),
            (json!("operator"), false),
            (json!([]), false),
            (Value::Null, false),
        ] {
            assert_eq!(is_operator(&named, &json!({claim: words})).await, wanted, "{claim} {words}");
            assert!(!is_operator(&keys, &json!({claim: words})).await, "another application's scope made an operator");
        }
        for words in [json!(7), json!({"a": 1}), json!([1]), json!(true)] {
            let token = ec_token("one", &with(|claims| claims[claim] = words));
            let why = refused(&named, &token).await;
            assert_eq!(why, "the token's scope, scp or roles is neither a string nor a list of strings");
        }
    }
}

async fn id_of(issuer: Option<&str>, subject: &str) -> Uuid {
    let token = token(&with(|claims| {
        claims["sub"] = subject.into();
        claims["iss"] = issuer.into();
    }));
    hs256().check(&token).await.unwrap().id
}

#[tokio::test]
async fn only_a_canonical_uuid_subject_becomes_the_user_id_unchanged() {
    const CANONICAL: &str = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6";
    let id: Uuid = CANONICAL.parse().unwrap();
    assert_eq!((id_of(None, CANONICAL).await, id_of(Some(ISSUER), CANONICAL).await), (id, id));
    let spellings = [
        id.simple().to_string(),
        id.braced().to_string(),
        id.urn().to_string(),
        CANONICAL.to_uppercase(),
        format!(" {CANONICAL}"),
    ];
    let mut ids = vec![id];
    for spelling in spellings {
        for issuer in [None, Some(ISSUER), Some("https://other.example/")] {
            ids.push(id_of(issuer, &spelling).await);
        }
    }
    // The id of another user, given as a subject.
    ids.push(id_of(Some(ISSUER), &ids[1].to_string()).await);
    let different: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(different.len(), ids.len());
    assert!(ids[1..].iter().all(|id| id.get_version_num() == 5));
}

/// Release 0.1.0 took whatever parses as a UUID as the id.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_operations_page_finds_every_user_whose_id_changes_with_the_upgrade_from_0_1_0(db: sqlx::PgPool) {
    let page = include_str!("../../../docs/operations.md");
    let (_, part) = page.split_once("**Before the first upgrade from 0.1.0**").unwrap();
    let (part, _) = part.split_once("Dapr is upgraded by its own chart").unwrap();
    let query = part.split_once("```sql\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    let ids = [
        Uuid::nil(),
        Uuid::now_v7(),
        Uuid::new_v4(),
        Uuid::new_v5(&Uuid::NAMESPACE_URL, b"a"),
        Uuid::new_v5(&Uuid::NAMESPACE_URL, b"b"),
        Uuid::from_u128(0x5555_5555_5555_1555_5555_5555_5555_5555),
        Uuid::from_u128(0xf),
    ];
    let mut changed = 0;
    for id in ids {
        sqlx::query("insert into users (id, email) values ($1, 'ada@example.org')")
            .bind(id)
            .execute(&db)
            .await
            .unwrap();
        changed += i64::from(id_of(Some(ISSUER), &id.to_string()).await != id);
    }
    assert_eq!(sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(query)).fetch_one(&db).await.unwrap(), changed);
    assert_eq!(changed, 2);

    let id = Uuid::from_u128(0xf81d_4fae_7dec_41d0_a765_00a0_c91e_6bf6);
    let words = part.split_whitespace().collect::<Vec<_>>().join(" ");
    for (spelling, named) in [
        (id.to_string().to_uppercase(), "in capital letters"),
        (id.simple().to_string(), "without hyphens"),
        (id.braced().to_string(), "in braces"),
        (id.urn().to_string(), "after `urn:uuid:`"),
    ] {
        assert_eq!(spelling.parse(), Ok(id), "0.1.0 took {spelling}");
        assert_ne!(id_of(Some(ISSUER), &spelling).await, id);
        assert!(words.contains(named), "the page does not name {spelling}");
    }
}

proptest::proptest! {
    /// A message can be built for whatever address gets in, and finds its recipient.
    #[test]
    fn a_message_can_be_addressed_to_every_accepted_address(
        text in "([a-z\"\\\\ .<>(),:;@\\[\\]äß=?-]|\\PC){1,12}@([a-z0-9.\\[\\]:ü-]{1,12}|\\PC{1,6})"
    ) {
        if let Some(address) = Address::parse(&text) {
            let to: lettre::Address = address.as_str().parse().unwrap();
            let message = lettre::Message::builder()
                .from("reminders@example.com".parse().unwrap())
                .to(lettre::message::Mailbox::new(None, to.clone()))
                .body(String::new());
            let message = message.unwrap();
            proptest::prop_assert_eq!(message.envelope().to(), [to]);
        }
    }

    /// Two subjects never have one id, and the same subject of two issuers is two users, unless it is a UUID.
    #[test]
    fn each_subject_of_an_issuer_has_one_distinct_user_id(left in "\\PC{1,60}", right in "\\PC{1,60}", uuid in proptest::prelude::any::<u128>()) {
        let id = |issuer, text: &str| claims::subject(text, issuer).unwrap();
        let ids = [id(Some("a"), &left), id(Some("b"), &left), id(None, &left)];
        proptest::prop_assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        proptest::prop_assert_eq!(left == right, ids[0] == id(Some("a"), &right));
        let uuid = Uuid::from_u128(uuid);
        let kept = id(Some("a"), &uuid.to_string()) == uuid;
        proptest::prop_assert_eq!(kept, uuid.get_version_num() != 5);
    }
}
