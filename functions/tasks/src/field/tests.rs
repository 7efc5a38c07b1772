use super::*;

#[test]
fn instants_need_an_offset_and_a_year_of_at_most_four_digits() {
    assert_eq!(instant("2027-05-04T09:00:00.1234567+02:00").unwrap().to_rfc3339(), "2027-05-04T07:00:00.123456+00:00");
    instant("9999-12-31T23:59:59Z").unwrap();
    for text in ["2027-05-04T09:00:00", "2027-05-04", "tomorrow", "", "+10000-01-01T00:00:00Z", "2027-02-30T00:00:00Z"]
    {
        assert!(instant(text).is_err(), "{text}");
    }
    assert!(instant("9999-12-31T23:59:59-01:00").is_err());
    assert!(instant("1969-12-31T23:59:59Z").is_err());
}

#[test]
fn a_length_is_counted_in_characters() {
    let text = Text::of(1..=500);
    assert!(text.parse("ä".repeat(500).into()).is_ok());
    assert!(text.parse("ä".repeat(501).into()).is_err());
    assert!(Text::visible(1..=500).parse("  ".into()).is_err());
    assert!(text.parse("a\0b".into()).is_err());
}
