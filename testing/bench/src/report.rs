//! The results in Markdown, and their place in the documentation.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;

use crate::sample::Sample;

/// The head of a table of times.
pub(super) const HEAD: &str = "| milliseconds | n | p50 | p99 | max | ÷ bare (p50, p99) |\n|---|--:|--:|--:|--:|--:|\n";

/// Adds a row, with its ratio to a bare sample.
pub(super) fn row(table: &mut String, what: &str, sample: &Sample, bare: Option<&Sample>) {
    let [p50, p99] = [0.5, 0.99].map(|share| sample.quantile(share));
    let ratio = bare
        .map_or_else(String::new, |bare| format!("{:.1}, {:.1}", p50 / bare.quantile(0.5), p99 / bare.quantile(0.99)));
    let _ = writeln!(table, "| {what} | {} | {p50:.1} | {p99:.1} | {:.1} | {ratio} |", sample.len(), sample.max());
}

/// Replaces the results of `cargo xtask bench<what>` in a page.
pub(super) fn write(page: &Path, what: &str, results: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let new = placed(&text, what, results)
        .with_context(|| format!("{} has no marks for the results of `bench{what}`", page.display()))?;
    Ok(fs::write(page, new)?)
}

fn placed(page: &str, what: &str, results: &str) -> Option<String> {
    let mark = |end| format!("<!-- cargo xtask bench{what} --write: {end} -->\n");
    let (begin, end) = (mark("begin"), mark("end"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{results}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_results_replace_the_old_ones_and_nothing_else() {
        let marked = |what: &str, text: &str| {
            format!(
                "<!-- cargo xtask bench{what} --write: begin -->\n{text}\n<!-- cargo xtask bench{what} --write: end -->\n"
            )
        };
        let page = format!("# Page\n{}between\n{}after\n", marked("", "old"), marked(" burst", "old"));
        let new = placed(&page, "", "new\n").unwrap();
        assert_eq!(new, format!("# Page\n{}between\n{}after\n", marked("", "new"), marked(" burst", "old")));
        assert_eq!(placed(&new, "", "new\n").unwrap(), new);
        let new = placed(&page, " burst", "new\n").unwrap();
        assert_eq!(new, format!("# Page\n{}between\n{}after\n", marked("", "old"), marked(" burst", "new")));
        assert_eq!(placed("# Page\n", "", "new\n"), None);
    }

    #[test]
    fn the_page_of_this_repository_has_a_place_for_each_result() {
        let page = fs::read_to_string(crate::root().join("docs/performance.md")).unwrap();
        for what in ["", " steady", " faults", " burst", " load", " streams"] {
            assert!(placed(&page, what, "").is_some(), "bench{what}");
        }
    }

    #[test]
    fn a_row_shows_its_ratio_to_the_bare_sample() {
        let mut text = String::new();
        let twice: Sample = [2.0, 4.0].into_iter().collect();
        row(&mut text, "x", &twice, Some(&[1.0, 2.0].into_iter().collect()));
        assert_eq!(text, "| x | 2 | 2.0 | 4.0 | 4.0 | 2.0, 2.0 |\n");
    }
}
