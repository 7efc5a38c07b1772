//! The `Authorization` header. The first byte chooses the form: the raw header, or the head and claims of a token, which is then signed
//! with our secret. An accepted token was signed with our secret over exactly these bytes and identifies the user.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    extract::FromRequestParts as _,
    http::{Request, header, request::Parts},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::{
    address::Address,
    auth::{Auth, User},
};

use crate::{
    Target,
    offline::{self, ID, SECRET},
};

pub(crate) const TARGET: Target = Target { name: "token", seeds, words: WORDS, run };

const WORDS: &[&str] = &[
    "Bearer ",
    "alg",
    "HS256",
    "HS384",
    "RS256",
    "none",
    "typ",
    "JWT",
    "kid",
    "crit",
    "jwk",
    "jku",
    "x5u",
    "x5c",
    "cty",
    "enc",
    "zip",
    "sub",
    "email",
    "exp",
    "nbf",
    "iat",
    "aud",
    "iss",
    "scope",
    "scp",
    "roles",
    "operator",
    "email_verified",
    "true",
    "false",
    "nonce",
    "at_hash",
    "c_hash",
    "token_use",
    "at+jwt",
    "Bearer",
    "auth0|507f1f77bcf86cd799439011",
    "ada@example.org",
    ID,
    "4102444800",
    "18446744073709551615",
    "4.1024448e9",
    "1e300",
    "-1",
    "null",
    "\\u0000",
];

fn seeds() -> Vec<Vec<u8>> {
    let claims = json!({"sub": ID, "email": "ada@example.org", "exp": 4_102_444_800_u64, "scope": "tasks operator"});
    let signed_by_us = |header: Value, claims: &Value| {
        [b"s", header.to_string().as_bytes(), b"\n\n", claims.to_string().as_bytes()].concat()
    };
    let plain = |header: &Value, secret: &str| {
        let rest = [header, &claims].map(|part| BASE64.encode(part.to_string())).join(".");
        format!("hBearer {rest}.{}", signature(secret, &rest)).into_bytes()
    };
    let good = json!({"alg": "HS256", "typ": "JWT"});
    vec![
        signed_by_us(good.clone(), &claims),
        signed_by_us(good.clone(), &json!({"sub": ID, "email": "a@b", "exp": 4_102_444_800.5, "nbf": 1, "aud": ["x"]})),
        signed_by_us(
            json!({"alg": "HS256", "typ": "at+jwt"}),
            &json!({"sub": "auth0|7", "iss": "https://id.example/", "email": "a@b.example", "email_verified": true, "exp": 4.1e9,
                    "iat": 1.5, "scp": ["tasks", "operator"], "typ": "Bearer", "nonce": "n"}),
        ),
        signed_by_us(json!({"alg": "HS256", "kid": "1", "crit": ["exp"]}), &claims),
        signed_by_us(json!({"alg": "HS512"}), &claims),
        plain(&good, SECRET),
        plain(&good, "another secret of 32 bytes or more"),
        plain(&json!({"alg": "none"}), SECRET),
    ]
}

fn signature(secret: &str, signed: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a secret of any length");
    mac.update(signed.as_bytes());
    BASE64.encode(mac.finalize().into_bytes())
}

/// The user that an `Authorization` header authenticates.
fn authenticated(authorization: &[u8]) -> Option<User> {
    thread_local! { static AUTH: Auth = offline::auth(); }
    let request = Request::builder().header(header::AUTHORIZATION, authorization).body(()).ok()?;
    let (mut parts, ()): (Parts, ()) = request.into_parts();
    AUTH.with(|auth| offline::run(User::from_request_parts(&mut parts, auth)).ok())
}

fn run(input: &[u8]) {
    let Some((form, input)) = input.split_first() else { return };
    let token = if form % 2 == 0 {
        String::from_utf8_lossy(input).into_owned()
    } else {
        let (head, claims) = offline::head_and_body(input);
        let head: Vec<&[u8]> = head.collect();
        let rest = format!("{}.{}", BASE64.encode(head.concat()), BASE64.encode(claims));
        format!("Bearer {rest}.{}", signature(SECRET, &rest))
    };
    let Some(user) = authenticated(token.as_bytes()) else { return };

    let (scheme, jwt) = token.trim_ascii().split_once(' ').expect("a scheme");
    let jwt = jwt.trim();
    assert!(scheme.eq_ignore_ascii_case("bearer"));
    let parts: Vec<&str> = jwt.split('.').collect();
    let [head, claims, signed] = parts[..] else { panic!("a token of {} parts was accepted", parts.len()) };
    assert_eq!(signed, signature(SECRET, &format!("{head}.{claims}")), "it was not signed with our secret");
    let json = |part: &str| serde_json::from_slice::<Value>(&BASE64.decode(part).expect("base64"));
    // This parser refuses half a surrogate pair; the product accepts it in a claim that it does not read.
    let (Ok(head), Ok(claims)) = (json(head), json(claims)) else { return };
    assert_eq!(head["alg"], "HS256");
    assert!(head["crit"].is_null());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp > now - 32.0), "it has expired: {claims}");
    assert!(claims["nbf"].as_f64().is_none_or(|nbf| nbf < now + 32.0), "it is not valid yet: {claims}");
    let subject = claims["sub"].as_str().expect("a subject");
    let is_canonical = user.id.to_string() == subject && user.id.get_version_num() != 5;
    assert!((1..=255).contains(&subject.len()) && (is_canonical || user.id.get_version_num() == 5), "{claims}");
    let email = user.email.as_str();
    assert_eq!(claims["email"].as_str().and_then(Address::parse), Some(user.email.clone()));
    assert!(
        email.len() <= 254
            && email.is_ascii()
            && !email.contains(char::is_control)
            && !email.contains('"')
            && !email.ends_with(']')
    );
    let verified = &claims["email_verified"];
    assert!(verified.is_null() || *verified == true || *verified == "true", "the address is not verified: {claims}");
    let issued = claims["iat"].as_f64();
    assert_eq!(issued.is_some(), user.issued_at.is_some());
    assert!(issued.is_none_or(|at| (0.0..now + 32.0).contains(&at)), "it comes from the future: {claims}");
    let is_operator = ["scope", "scp", "roles"].iter().any(|claim| {
        let words = |value: &Value| value.as_str().is_some_and(|text| text.split(' ').any(|word| word == "operator"));
        words(&claims[claim]) || claims[claim].as_array().is_some_and(|list| list.iter().any(words))
    });
    assert_eq!(user.operator, is_operator);
    // A changed signature is refused.
    let other = if signed.starts_with('A') { "B" } else { "A" };
    let forged = jwt.len() - signed.len();
    assert_eq!(authenticated(format!("Bearer {}{other}{}", &jwt[..forged], &jwt[forged + 1..]).as_bytes()), None);
}
