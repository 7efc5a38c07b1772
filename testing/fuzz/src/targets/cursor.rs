//! Page cursors. The first byte chooses the list and the second the form: bytes from which a valid cursor is made, which must be
//! accepted, or arbitrary text. An accepted cursor must also be accepted after it is rewritten in the product's form.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use uuid::Uuid;

use crate::{
    Target,
    offline::{self, ID},
};

pub(crate) const TARGET: Target = Target { name: "cursor", seeds, words: WORDS, run };

const WORDS: &[&str] =
    &["-", "+", " ", "_", "created_at", "due_at", "priority", ID, "9223372036854775807", "253402300799999999"];

const SORTS: [&str; 6] = ["created_at", "-created_at", "due_at", "-due_at", "priority", "-priority"];
/// The last microsecond of the year 9999.
const LAST: i64 = 253_402_300_799_999_999;

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for list in 0..8 {
        let ours = [&[list, b'o'][..], &1_900_000_000_000_000_i64.to_le_bytes(), &[7; 8]].concat();
        seeds.push(ours);
        seeds.push(
            [&[list, b't'][..], written(list, Some(1_900_000_000_000_000), Uuid::from_u128(7)).as_bytes()].concat(),
        );
        seeds.push([&[list, b't'][..], written(list, None, Uuid::from_u128(7)).as_bytes()].concat());
    }
    seeds
}

/// A cursor in the product's form.
fn written(list: u8, key: Option<i64>, id: Uuid) -> String {
    let shown = key.map(|key| key.to_string()).unwrap_or_default();
    match usize::from(list) % 8 {
        6 => shown,
        7 => format!("{shown}_{id}"),
        sort => format!("{} {shown} {}", SORTS[sort], id.simple()),
    }
}

/// Whether a list accepts a cursor.
fn accepts(list: u8, text: &str) -> bool {
    let (path, text) = match usize::from(list) % 8 {
        6 => (format!("/v1/tasks/{ID}/history?"), text.to_owned()),
        7 => ("/v1/dead-letters?".to_owned(), text.to_owned()),
        sort => (format!("/v1/tasks?sort={}&", SORTS[sort]), BASE64.encode(text)),
    };
    let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let request = Request::get(format!("{path}cursor={escaped}")).header(header::AUTHORIZATION, offline::bearer());
    let answer = offline::call(request.body(Body::empty()).expect("a request"));
    assert!(answer.was_good() || answer.status == StatusCode::UNPROCESSABLE_ENTITY, "{} to {text:?}", answer.status);
    answer.was_good()
}

fn run(input: &[u8]) {
    let [list, form, rest @ ..] = input else { return };
    if form % 2 == 1 {
        let Some((key, id)) = rest.split_first_chunk::<8>() else { return };
        let key = i64::from_le_bytes(*key);
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, id);
        let ours = usize::from(*list) % 8 == 6 || (0..=LAST).contains(&key);
        let before_christ = key < -62_167_219_200_000_000;
        let text = written(*list, Some(key), id);
        // The product never writes years 0 to 1969; either answer is fine.
        assert!(accepts(*list, &text) || !ours, "{text} is refused");
        assert!(ours || !before_christ && key <= LAST || !accepts(*list, &text), "{text} is accepted");
        return;
    }
    let Ok(text) = std::str::from_utf8(rest) else { return };
    // The limit of a request line.
    if text.len() > 10_000 || !accepts(*list, text) {
        return;
    }
    let (key, id) = match usize::from(*list) % 8 {
        6 => (text, ID),
        7 => text.split_once('_').expect("two parts"),
        sort => {
            let parts: Vec<&str> = text.split(' ').collect();
            let [name, key, id] = parts[..] else { panic!("{text:?} was accepted") };
            assert_eq!(name, SORTS[sort]);
            (key, id)
        }
    };
    let key = (!key.is_empty()).then(|| key.parse().expect("a number"));
    let again = written(*list, key, id.parse().expect("an id"));
    assert!(accepts(*list, &again), "{text:?} is accepted and {again:?} is not");
}
