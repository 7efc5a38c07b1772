//! Tokens of the providers in the table of `docs/security.md`: their kind of key, their claims, and the settings that the table names.

use super::*;

/// PKCS #1.
const RSA_PRIVATE: &str = "MIIEpQIBAAKCAQEAt2xjNYyxLR4u/o5Dzp2AzTFF5ITUCAvUoQcyYz/zOgk/YnOD3Ehf0Wb/4WKNUVj1zEgH42/Fr8XPaNBOti4V\
    erB4vTY2Vt2uc/HiIJIRTnc++pbAn+rca6ASNGU4gjLbdKWPmz+UgJRoGkIiWmj35gHccrcxoW9DtftZToObuT0CQHV+RZ9To7Cs\
    V6lpsytvYU4jsusuiaFZhOcMhKUZ3y7pw1UnODNgORnO15izkXkr5Pm4KRM79xpcnbNb/2yIwMhbH8QengqK/8Je/M3jX9t2DfPK\
    R1RRQbm7l2tHpiaOIBnLYg/CNvLCTl56JoPTr6ANn9Cn4hPg4vXFMV7rpwIDAQABAoIBAAoD8pTZdlEy3TkMFprBEefiYWEdeaBo\
    2Pbj+DXgJ41LNPlQumn8T7MU7zLk2TeQZnd9lWSvVTmIUQ91lF6xPH4DBcy7GZN7rktpcUH7B9Pjgf5X3fO9dMSxrFzNDB1b3ozL\
    f4BoI9kzgU2xv8N1CNg30Mw4wY6Bj05wB4vYdtfR6637OrSC31TMl8zLudWrUQ56mmj/F99v/H5O7acUkOnEgyvpSpMcZu3qPkND\
    bvVliSsI5Xu9uXg4xB0IqIGDAE487Qjc5LaD4XuHJ5VVwJIM168gNa0BeH8VfzCM6h7Bo7ygiQ0m76vfdDiGi56h79qz+p64SNZN\
    /rnwS9AgokkCgYEA8lf2I/Us0tPHp6LcyvAoCPe8On/Y4X+8XZEPYTCkMv79rURmERtX+jF7KSnCNEdjZadkPazBtTR9ljU0n4KF\
    lJBf04nG+k4iJzJiB8/MAgqfaiQEcMuI3155BwZ+BrWrRrlIUnPD5eo+Uz0mL7JD9pwGvTitq2p3KHthFzYv3dkCgYEAwcJyEa+E\
    Jg2wY4ClXz5DVtTm3uQOoEV10YuCZfiY/ixi0RYiBc8YtDv5M7fNrp/J1O/IBN3hxLddMHE9NE1vmu2KBp4Kw7TFKEnzWAj2uhu5\
    VEbxQm7Mzc+CNwNPJEaqrG4z98prtS6K3QXu/UmJejx+tucyeF2DQB4b+fXbpX8CgYEAl0+ScHsJRI1UUHegcdkmtgqv7LqcWJdf\
    re//cUhkjS6mhwN40t+Gu8EfS+E1z1xvVC4CqXtu6sveSeXoeFuPOeY23qZcpTYZnu2XRZdZokCtriDU4PRD/mtHF7rW/yt4yEyx\
    OkHro2bxCRnZ+NfOFXDvyD9WN/vecFkwksSTeGkCgYEAl4m0HRDgkcJzCd87d1oC4I5yYjCLH94zX0d1HLtpLKEaR9y/jzuBXrTp\
    GgHO45wlBlziWqwOPwQJ5jEqZRWLC+hr4vEICjf/Wps7rsaT8MpuD/PMDOELXIvGk7AK3ZxHL8Sg8FNoGbPk9ygE2iQBWZCmqfX4\
    CxtX43Wo+73Fo5ECgYEAnr5wlX2ozVToLS7UtkRWMpt5EWclftOd8XYNKsvryqN/PSW8wCg8805jIphxoCb6lw9Hr8ZjvG/g7ksQ\
    F6Ek8Op4L7c+JWhiX3FtGcmBsdQcVfKpD+WqQQgvl/nynFbqUCp37ePGH5AtD67WHh6ZoC5ZXvE670kzGtrXNIgcMWY=";
const RSA_N: &str = "t2xjNYyxLR4u_o5Dzp2AzTFF5ITUCAvUoQcyYz_zOgk_YnOD3Ehf0Wb_4WKNUVj1zEgH42_Fr8XPaNBOti4VerB4vTY2Vt2uc_Hi\
    IJIRTnc--pbAn-rca6ASNGU4gjLbdKWPmz-UgJRoGkIiWmj35gHccrcxoW9DtftZToObuT0CQHV-RZ9To7CsV6lpsytvYU4jsusu\
    iaFZhOcMhKUZ3y7pw1UnODNgORnO15izkXkr5Pm4KRM79xpcnbNb_2yIwMhbH8QengqK_8Je_M3jX9t2DfPKR1RRQbm7l2tHpiaO\
    IBnLYg_CNvLCTl56JoPTr6ANn9Cn4hPg4vXFMV7rpw";

/// A key as Entra ID publishes it: it does not name its algorithm.
fn rsa_key() -> Value {
    json!({"kty": "RSA", "use": "sig", "kid": "one", "x5t": "one", "n": RSA_N, "e": "AQAB"})
}

fn signed(header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_rsa_der(&BASE64_STANDARD.decode(RSA_PRIVATE).unwrap()))
        .unwrap()
}

fn header_of(algorithm: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) }
}

/// The settings in a provider's row of the table, beside the issuer, the keys and the audience.
fn settings(provider: &str) -> Vec<String> {
    let page = include_str!("../../../../docs/security.md");
    let row = page.lines().find(|line| line.starts_with(&format!("| {provider} |"))).expect("a row of the table");
    let settings = row.split('`').filter_map(|code| code.split_once('=')).filter(|(name, _)| name.starts_with("JWT_"));
    settings.flat_map(|(name, value)| [format!("--{}", name.to_lowercase().replace('_', "-")), value.into()]).collect()
}

/// The tokens and keys of a provider whose API is set up as the table says.
struct Issued {
    provider: &'static str,
    issuer: &'static str,
    audience: &'static str,
    /// The fields of its keys beside the key itself.
    key: Value,
    /// The `typ` of the header.
    kind: Option<&'static str>,
    /// The claims beside `iss`, `iat` and `exp`.
    claims: Value,
    /// As Python's `uuid.uuid5` computes it.
    id: &'static str,
}

fn issued() -> [Issued; 6] {
    let rs256 = json!({"alg": "RS256"});
    [
        Issued {
            provider: "Auth0",
            issuer: "https://tenant.eu.auth0.com/",
            audience: "https://punctual.example",
            key: rs256.clone(),
            kind: Some("at+jwt"),
            claims: json!({
                "sub": "auth0|507f1f77bcf86cd799439011", "aud": ["https://punctual.example", "https://tenant.eu.auth0.com/userinfo"],
                "scope": "openid profile email", "azp": "client", "jti": "j", "client_id": "client", "permissions": [],
                "email": "ada@example.org", "email_verified": true,
            }),
            id: "ca1c3fc4-ede7-5420-806a-07ac99873eee",
        },
        Issued {
            provider: "Keycloak",
            issuer: "https://id.example/realms/main",
            audience: "https://punctual.example",
            key: rs256.clone(),
            kind: Some("JWT"),
            claims: json!({
                "jti": "onrtac:1", "sub": "f81d4fae-7dec-41d0-a765-00a0c91e6bf6", "aud": ["https://punctual.example", "account"],
                "typ": "Bearer", "azp": "client", "sid": "s", "acr": "1", "allowed-origins": ["https://app.example"],
                "realm_access": {"roles": ["offline_access"]}, "resource_access": {"account": {"roles": ["manage-account"]}},
                "scope": "openid profile email", "name": "Ada", "preferred_username": "ada",
                "email": "ada@example.org", "email_verified": true,
            }),
            id: "f81d4fae-7dec-41d0-a765-00a0c91e6bf6",
        },
        Issued {
            provider: "Entra ID",
            issuer: "https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0",
            audience: "6731de76-14a6-49ae-97bc-6eba6914391e",
            key: json!({"issuer": "https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0"}),
            kind: Some("JWT"),
            claims: json!({
                "aud": "6731de76-14a6-49ae-97bc-6eba6914391e", "nbf": in_seconds(-1), "aio": "a", "azp": "client", "azpacr": "0",
                "name": "Ada", "oid": "00000000-0000-0000-66f3-3332eca7ea81", "preferred_username": "ada@example.org", "rh": "r",
                "roles": ["Task.Read"], "scp": "tasks.readwrite", "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
                "tid": "9122040d-6c67-4c5b-b112-36a304b66dad", "uti": "u", "ver": "2.0", "email": "ada@example.org",
            }),
            id: "288e3856-5f84-5cd8-9852-898f357ae2f6",
        },
        Issued {
            provider: "Google",
            issuer: "https://accounts.google.com",
            audience: "client.apps.googleusercontent.com",
            key: rs256.clone(),
            kind: Some("JWT"),
            claims: json!({
                "azp": "client.apps.googleusercontent.com", "aud": "client.apps.googleusercontent.com",
                "sub": "110169484474386276334", "email": "ada@example.org", "email_verified": true, "at_hash": "h", "nonce": "n",
                "name": "Ada", "picture": "https://lh3.googleusercontent.com/a/x", "given_name": "Ada",
            }),
            id: "76376a5d-000f-5c4d-95cb-f1f3f75a5ed3",
        },
        Issued {
            provider: "Cognito",
            issuer: "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_example",
            audience: "1example23456789",
            key: rs256.clone(),
            kind: None,
            claims: json!({
                "sub": "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", "cognito:groups": ["g"], "email_verified": true,
                "cognito:username": "ada", "origin_jti": "o", "aud": "1example23456789", "event_id": "e", "token_use": "id",
                "auth_time": in_seconds(-1), "jti": "j", "at_hash": "h", "email": "ada@example.org",
            }),
            id: "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
        },
        Issued {
            provider: "Firebase",
            issuer: "https://securetoken.google.com/project",
            audience: "project",
            key: rs256,
            kind: Some("JWT"),
            claims: json!({
                "name": "Ada", "aud": "project", "auth_time": in_seconds(-1), "user_id": "piD5Tn0PVYhY4sTpRBcgmqEqSMW2",
                "sub": "piD5Tn0PVYhY4sTpRBcgmqEqSMW2", "email": "ada@example.org", "email_verified": true,
                "firebase": {"identities": {"email": ["ada@example.org"]}, "sign_in_provider": "password"},
            }),
            id: "ac11df0c-3918-57e5-bd53-8828bc061885",
        },
    ]
}

#[tokio::test]
async fn tokens_of_well_known_providers_identify_their_user() {
    for Issued { provider: name, issuer, audience, key, kind, claims, id } in issued() {
        let mut published = rsa_key();
        published.as_object_mut().unwrap().extend(key.as_object().unwrap().clone());
        // Keycloak publishes its key for encryption beside the others.
        let encrypts = json!({"kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "kid": "two", "n": RSA_N, "e": "AQAB"});
        let (url, _) = provider(json!([encrypts, published])).await;
        let mut arguments = vec!["--jwks-url", &url, "--jwt-issuer", issuer, "--jwt-audience", audience];
        let strict = auth(&arguments);
        let settings = settings(name);
        arguments.extend(settings.iter().map(String::as_str));
        let auth = auth(&arguments);

        let times = json!({"iss": issuer, "iat": in_seconds(-1), "exp": in_seconds(600)});
        let mut all = claims;
        all.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
        let header = Header { typ: kind.map(str::to_owned), ..header_of(Algorithm::RS256, "one") };
        let token = signed(&header, &all);
        let user = auth.check(&token).await.unwrap_or_else(|problem| panic!("{name}: {problem:?}"));
        assert_eq!((user.id.to_string().as_str(), user.email.as_str()), (id, "ada@example.org"), "{name}");
        assert!(!user.operator, "{name}");
        // Each setting of the table is needed.
        assert_eq!(strict.check(&token).await.is_ok(), settings.is_empty(), "{name}");
        refused(&auth, &signed(&Header { kid: Some("two".into()), ..header }, &all)).await;
    }
}

#[tokio::test]
async fn a_key_without_an_algorithm_verifies_the_algorithms_of_its_kind_alone() {
    let (url, _) = provider(json!([rsa_key()])).await;
    let any = jwks(&url, &[]);
    let mut named = rsa_key();
    named["alg"] = "RS256".into();
    let (url, _) = provider(json!([named])).await;
    let only = jwks(&url, &[]);
    let claims = provided(&claims());
    for algorithm in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS512] {
        let token = signed(&header_of(algorithm, "one"), &claims);
        assert_eq!(any.check(&token).await.unwrap(), ada());
        assert_eq!(only.check(&token).await.is_ok(), algorithm == Algorithm::RS256, "{algorithm:?}");
        let (rest, signature) = token.rsplit_once('.').unwrap();
        let (_, other) = rest.split_once('.').unwrap();
        let header = json!({"alg": "RS256", "kid": "one", "typ": "JWT", "forged": algorithm as u8});
        let header = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
        refused(&any, &format!("{header}.{other}.{signature}")).await;
    }
    // With the public key as an HMAC secret, in the forms that an attacker has.
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(RSA_N).unwrap();
    for secret in [&modulus[..], RSA_N.as_bytes(), rsa_key().to_string().as_bytes()] {
        let key = EncodingKey::from_secret(secret);
        let token = jsonwebtoken::encode(&header_of(Algorithm::HS256, "one"), &claims, &key).unwrap();
        refused(&any, &token).await;
    }
    // With a key of another kind that has the same id.
    refused(&any, &ec_token("one", &claims)).await;
}
