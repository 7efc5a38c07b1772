//! The text that searches look at: without upper and lower case, and in one Unicode form.
//!
//! Computed here and not by PostgreSQL, whose `lower` and `ilike` depend on the locale of the database. Folding is Unicode's canonical
//! caseless matching (The Unicode Standard, section 3.13, D145), so that `ΣΊΣΥΦΟΣ` is `σίσυφος` and `STRASSE` is `Straße`. It also ignores
//! differences that a person does not see or type:
//!
//! - Characters without a glyph, such as a soft hyphen or a joiner.
//! - The dot of the letter i. Otherwise `istanbul` would not find `İSTANBUL`, because only Turkish folding makes `İ` an `i`, and makes `I`
//!   something else.

use icu_casemap::CaseMapper;
use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use unicode_normalization::UnicodeNormalization as _;

const DOT_ABOVE: char = '\u{307}';

/// The `search_text` of a task. No word spans both parts, because words have no line break.
#[must_use]
pub fn of_task(title: &str, description: Option<&str>) -> String {
    let mut text = fold(title);
    if let Some(description) = description {
        text.push('\n');
        text.push_str(&fold(description));
    }
    text
}

/// Folds text, so that two spellings of the same letters are equal.
#[must_use]
pub fn fold(text: &str) -> String {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let visible: String = text.nfd().filter(|character| !ignorable.contains(*character)).collect();
    let mut after_i = false;
    let folded = CaseMapper::new().fold_string(&visible);
    let dotless = folded.chars().map(|character| if character == 'ı' { 'i' } else { character }).filter(|character| {
        let is_dot_of_i = after_i && *character == DOT_ABOVE;
        after_i = is_dot_of_i || *character == 'i';
        !is_dot_of_i
    });
    dotless.nfc().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_the_same_letters_fold_to_the_same_text() {
        for (one, other) in [
            ("ÄPFEL", "äpfel"),
            ("МОЛОКО", "молоко"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("STRASSE", "Straße"),
            ("STRAẞE", "strasse"),
            ("İSTANBUL", "istanbul"),
            ("ISPARTA", "ısparta"),
            ("cafe\u{301}", "CAFÉ"),
            ("A\u{30a}NGSTRO\u{308}M", "\u{212b}ngström"),
            ("co\u{ad}operate", "cooperate"),
            ("می\u{200c}خواهم", "میخواهم"),
            ("❤\u{fe0f}", "❤"),
            ("ﬁne", "fine"),
            ("한글", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"),
        ] {
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold("e"), fold("é"));
        assert_eq!(fold("明天会议"), "明天会议");
        assert_eq!(of_task("A", None), "a");
        assert_eq!(of_task("A", Some("B")), "a\nb");
    }

    proptest! {
        #[test]
        fn folding_is_idempotent_and_independent_of_the_unicode_form(text: String) {
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded.clone());
            prop_assert_eq!(fold(&text.nfd().collect::<String>()), folded.clone());
            prop_assert_eq!(fold(&text.nfc().collect::<String>()), folded);
        }
    }
}
