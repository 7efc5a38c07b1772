//! Text of users as Unicode defines it: its normal form, and whether a person sees anything of it.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark},
};
use unicode_normalization::UnicodeNormalization as _;

/// Characters that fonts draw as nothing although their properties do not say so: the Braille pattern without dots, the null note head,
/// the two blank hieroglyphs, and the filler of the Khitan script.
const DRAWN_AS_NOTHING: [char; 5] = ['\u{2800}', '\u{1d159}', '\u{13441}', '\u{13442}', '\u{16fe4}'];

/// Normalises text to NFC, so that two spellings of the same characters are equal.
pub(crate) fn nfc(text: &str) -> String {
    text.nfc().collect()
}

/// Whether a person sees nothing of the text.
pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(|character| {
        // Format characters draw nothing themselves, except signs that enclose the digits after them.
        let is_format = CodePointMapData::<GeneralCategory>::new().get(character) == GeneralCategory::Format
            && !CodePointSetData::new::<PrependedConcatenationMark>().contains(character);
        is_format
            || character.is_whitespace()
            || character.is_control()
            || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
            || DRAWN_AS_NOTHING.contains(&character)
    })
}

const NONCHARACTER: &str = "must not contain a noncharacter of Unicode, such as U+FFFF";

/// Finds a character that no text may contain: NUL, which PostgreSQL cannot store, or a noncharacter, which Unicode reserves for use
/// inside of programs.
pub(crate) fn forbidden(text: &str) -> Option<&'static str> {
    text.chars().find_map(|character| match character {
        '\0' => Some("must not contain NUL"),
        '\u{fdd0}'..='\u{fdef}' => Some(NONCHARACTER),
        character if u32::from(character) & 0xfffe == 0xfffe => Some(NONCHARACTER),
        _ => None,
    })
}
