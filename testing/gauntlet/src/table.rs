//! The table of variants in `docs/gauntlet.md`.

use std::{fs, time::Duration};

use anyhow::Context as _;
use lab::root;

use crate::variants::{Outcome, Variant};

const PAGE: &str = "docs/gauntlet.md";
const BEGIN: &str = "<!-- cargo xtask gauntlet --every-variant --write: begin -->";
const END: &str = "<!-- cargo xtask gauntlet --every-variant --write: end -->";
const HEAD: &str = "| variant | what it breaks | found by | findings | minutes of faults | to build | to find |
|---|---|---|--:|--:|--:|--:|
";

/// The table row of a variant.
pub(crate) fn row(variant: &Variant, outcome: &Outcome) -> String {
    let found_by = if outcome.findings == 0 { "**not found**".to_owned() } else { outcome.found_by.join(", ") };
    format!(
        "| `{}` | {} | {found_by} | {} | {} | {} | {} |",
        variant.name,
        variant.breaks,
        outcome.findings,
        outcome.minutes,
        minutes(outcome.build),
        minutes(outcome.search),
    )
}

/// Minutes with one decimal.
pub(crate) fn minutes(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() / 60.0)
}

/// Writes `rows` into the page's table and keeps the rows of the other variants.
pub(crate) fn write(names: &[&str], rows: &[String]) -> anyhow::Result<()> {
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("{PAGE} lacks the begin of the table"))?;
    let (table, after) = rest.split_once(END).with_context(|| format!("{PAGE} lacks the end of the table"))?;
    let table = merged(table, names, rows);
    fs::write(path, format!("{before}{BEGIN}\n{table}{END}{after}"))?;
    Ok(())
}

/// A table with one row for each of `names`: its row in `rows`, or otherwise its row in `table`.
pub(crate) fn merged(table: &str, names: &[&str], rows: &[String]) -> String {
    let mut merged = HEAD.to_owned();
    for name in names {
        let key = format!("| `{name}` |");
        let mut found = rows.iter().map(String::as_str).chain(table.lines()).filter(|row| row.starts_with(&key));
        merged.extend(found.next().map(|row| format!("{row}\n")));
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_row_replaces_the_old_one_and_rows_of_removed_variants_go() {
        let old = "| `a` | old |\n| `b` | kept |\n| `gone` | old |\n";
        let rows = ["| `a` | new |".to_owned()];
        assert_eq!(merged(old, &["a", "b", "c"], &rows), format!("{HEAD}| `a` | new |\n| `b` | kept |\n"));
    }

    #[test]
    fn a_row_states_which_invariants_found_the_variant_and_in_how_many_minutes() {
        let variant = Variant { name: "a".to_owned(), breaks: "All".to_owned(), options: Vec::new(), patch: None };
        let mut outcome = Outcome {
            found_by: vec!["I6", "I1"],
            findings: 3,
            minutes: 2.0,
            build: Duration::from_secs(90),
            search: Duration::from_secs(200),
        };
        assert_eq!(row(&variant, &outcome), "| `a` | All | I6, I1 | 3 | 2 | 1.5 | 3.3 |");
        outcome.findings = 0;
        assert!(row(&variant, &outcome).contains("**not found**"));
    }
}
