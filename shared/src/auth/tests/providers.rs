//! Tokens of the providers in the table of `docs/security.md`: their kind of key, their claims, and the settings that the table names.

use super::*;

const RSA_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQC3bGM1jLEtHi7+
jkPOnYDNMUXkhNQIC9ShBzJjP/M6CT9ic4PcSF/RZv/hYo1RWPXMSAfjb8Wvxc9o
0E62LhV6sHi9NjZW3a5z8eIgkhFOdz76lsCf6txroBI0ZTiCMtt0pY+bP5SAlGga
QiJaaPfmAdxytzGhb0O1+1lOg5u5PQJAdX5Fn1OjsKxXqWmzK29hTiOy6y6JoVmE
5wyEpRnfLunDVSc4M2A5Gc7XmLOReSvk+bgpEzv3Glyds1v/bIjAyFsfxB6eCor/
wl78zeNf23YN88pHVFFBubuXa0emJo4gGctiD8I28sJOXnomg9OvoA2f0KfiE+Di
9cUxXuunAgMBAAECggEACgPylNl2UTLdOQwWmsER5+JhYR15oGjY9uP4NeAnjUs0
+VC6afxPsxTvMuTZN5Bmd32VZK9VOYhRD3WUXrE8fgMFzLsZk3uuS2lxQfsH0+OB
/lfd8710xLGsXM0MHVvejMt/gGgj2TOBTbG/w3UI2DfQzDjBjoGPTnAHi9h219Hr
rfs6tILfVMyXzMu51atRDnqaaP8X32/8fk7tpxSQ6cSDK+lKkxxm7eo+Q0Nu9WWJ
Kwjle725eDjEHQiogYMATjztCNzktoPhe4cnlVXAkgzXryA1rQF4fxV/MIzqHsGj
vKCJDSbvq990OIaLnqHv2rP6nrhI1k3+ufBL0CCiSQKBgQDyV/Yj9SzS08enotzK
8CgI97w6f9jhf7xdkQ9hMKQy/v2tRGYRG1f6MXspKcI0R2Nlp2Q9rMG1NH2WNTSf
goWUkF/Ticb6TiInMmIHz8wCCp9qJARwy4jfXnkHBn4GtatGuUhSc8Pl6j5TPSYv
skP2nAa9OK2rancoe2EXNi/d2QKBgQDBwnIRr4QmDbBjgKVfPkNW1Obe5A6gRXXR
i4Jl+Jj+LGLRFiIFzxi0O/kzt82un8nU78gE3eHEt10wcT00TW+a7YoGngrDtMUo
SfNYCPa6G7lURvFCbszNz4I3A08kRqqsbjP3ymu1LordBe79SYl6PH625zJ4XYNA
Hhv59dulfwKBgQCXT5JwewlEjVRQd6Bx2Sa2Cq/supxYl1+t7/9xSGSNLqaHA3jS
34a7wR9L4TXPXG9ULgKpe27qy95J5eh4W4855jbeplylNhme7ZdFl1miQK2uINTg
9EP+a0cXutb/K3jITLE6QeujZvEJGdn4184VcO/IP1Y3+95wWTCSxJN4aQKBgQCX
ibQdEOCRwnMJ3zt3WgLgjnJiMIsf3jNfR3Ucu2ksoRpH3L+PO4FetOkaAc7jnCUG
XOJarA4/BAnmMSplFYsL6Gvi8QgKN/9amzuuxpPwym4P88wM4Qtci8aTsArdnEcv
xKDwU2gZs+T3KATaJAFZkKap9fgLG1fjdaj7vcWjkQKBgQCevnCVfajNVOgtLtS2
RFYym3kRZyV+053xdg0qy+vKo389JbzAKDzzTmMimHGgJvqXD0evxmO8b+DuSxAX
oSTw6ngvtz4laGJfcW0ZyYGx1BxV8qkP5apBCC+X+fKcVupQKnft48YfkC0PrtYe
HpmgLlle8TrvSTMa2tc0iBwxZg==
-----END PRIVATE KEY-----";
const RSA_N: &str = "t2xjNYyxLR4u_o5Dzp2AzTFF5ITUCAvUoQcyYz_zOgk_YnOD3Ehf0Wb_4WKNUVj1zEgH42_Fr8XPaNBOti4VerB4vTY2Vt2uc_Hi\
    IJIRTnc--pbAn-rca6ASNGU4gjLbdKWPmz-UgJRoGkIiWmj35gHccrcxoW9DtftZToObuT0CQHV-RZ9To7CsV6lpsytvYU4jsusu\
    iaFZhOcMhKUZ3y7pw1UnODNgORnO15izkXkr5Pm4KRM79xpcnbNb_2yIwMhbH8QengqK_8Je_M3jX9t2DfPKR1RRQbm7l2tHpiaO\
    IBnLYg_CNvLCTl56JoPTr6ANn9Cn4hPg4vXFMV7rpw";

/// A key as Entra ID publishes it: it does not name its algorithm.
fn rsa_key() -> Value {
    json!({"kty": "RSA", "use": "sig", "kid": "one", "x5t": "one", "n": RSA_N, "e": "AQAB"})
}

fn signed(header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).unwrap()).unwrap()
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
