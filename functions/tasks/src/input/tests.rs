use serde_json::json;

use super::*;

#[test]
fn the_examples_of_rfc_7396_merge_as_it_says() {
    for (mut target, patch, result) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        merge_patch(&mut target, patch.clone());
        assert_eq!(target, result, "{patch}");
    }
}

#[test]
fn instants_need_an_offset_and_a_year_that_can_be_written() {
    assert_eq!(
        instant_text("2027-05-04T09:00:00.1234567+02:00").unwrap().to_rfc3339(),
        "2027-05-04T07:00:00.123456+00:00"
    );
    instant_text("9999-12-31T23:59:59Z").unwrap();
    for text in ["2027-05-04T09:00:00", "2027-05-04", "tomorrow", "", "+10000-01-01T00:00:00Z", "2027-02-30T00:00:00Z"]
    {
        assert!(instant_text(text).is_err(), "{text}");
    }
    assert!(instant_text("9999-12-31T23:59:59-01:00").is_err());
    assert!(instant_text("1969-12-31T23:59:59Z").is_err());
}

#[test]
fn a_length_is_counted_in_characters() {
    assert!(text(&"ä".repeat(500).into(), 1..=500).is_ok());
    assert!(text(&"ä".repeat(501).into(), 1..=500).is_err());
    assert!(trimmed(&"  ".into(), 1..=500).is_err());
    assert!(text(&"a\0b".into(), 1..=500).is_err());
}
