//! The results in Markdown, and their place in the documentation.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;

use crate::{
    Outcome,
    events::Events,
    footprint::Footprint,
    reminders::{Ours, Reminders},
    sample::Sample,
};

/// The head of a table of times.
pub(super) const HEAD: &str =
    "| milliseconds | n | p50 | p99 | max | ÷ bare beside it (p50, p99) |\n|---|--:|--:|--:|--:|--:|\n";

/// Everything that the overview measures.
pub(super) struct Report {
    /// How busy the processor was, in percent: while the reminders were due, under the events.
    pub(super) busy: [u64; 2],
    pub(super) reminders: Reminders,
    pub(super) events: Events,
    pub(super) starts: Sample,
    pub(super) footprints: Vec<Footprint>,
}

impl Report {
    pub(super) fn outcome(&self) -> Outcome {
        let [reminders, events] = self.busy;
        let Reminders { ours, bare, .. } = &self.reminders;
        let early = ours.early() + bare.early();
        let notes = format!(
            "{reminders} % while reminders were due, {events} % under the events. Before their time: {early} of {} reminders \
             and bare jobs.",
            ours.fired.len() + bare.len(),
        );
        let missed =
            if early == 0 { Vec::new() } else { vec![format!("{early} of the reminders or bare jobs were early")] };
        Outcome { notes, table: self.tables(), missed }
    }

    fn tables(&self) -> String {
        let mut text = HEAD.to_owned();
        let Reminders { ours: Ours { fired, sent, attempt, .. }, bare, bare_alone } = &self.reminders;
        row(&mut text, "**reminder**: planned → fired", fired, Some(bare));
        row(&mut text, "**reminder**: planned → accepted by the mail server", sent, Some(bare));
        row(&mut text, "of which the attempt: begun → accepted", attempt, None);
        row(&mut text, "bare Dapr job: planned → application, beside", bare, None);
        if let Some(alone) = bare_alone {
            row(&mut text, "bare Dapr job: planned → application, alone", alone, None);
        }
        let Events { effect, after_answer, begun, answer, bare, bare_alone } = &self.events;
        row(&mut text, "**event**: command committed → effect committed", effect, Some(bare));
        row(&mut text, "**event**: 201 at the client → handler's transaction begins", after_answer, Some(bare));
        row(&mut text, "**event**: command's transaction begins → handler's begins", begun, Some(bare));
        row(&mut text, "request → 201", answer, None);
        row(&mut text, "bare Dapr event: publish → application, beside", bare, None);
        row(&mut text, "bare Dapr event: publish → application, alone", bare_alone, None);
        row(&mut text, "`task-created`: start → first 200 of `/healthz`", &self.starts, None);
        text.push_str("\n| megabytes | binary | memory, idle | memory, after the load |\n|---|--:|--:|--:|\n");
        for Footprint { name, binary_bytes, idle_bytes, loaded_bytes } in &self.footprints {
            let [binary, idle, loaded] = [binary_bytes, idle_bytes, loaded_bytes].map(|bytes| *bytes as f64 / 1e6);
            let _ = writeln!(text, "| {name} | {binary:.1} | {idle:.1} | {loaded:.1} |");
        }
        text
    }
}

pub(super) fn row(text: &mut String, what: &str, sample: &Sample, beside: Option<&Sample>) {
    let [p50, p99] = [0.5, 0.99].map(|share| sample.quantile(share));
    let ratio = beside
        .map_or_else(String::new, |bare| format!("{:.1}, {:.1}", p50 / bare.quantile(0.5), p99 / bare.quantile(0.99)));
    let _ = writeln!(text, "| {what} | {} | {p50:.1} | {p99:.1} | {:.1} | {ratio} |", sample.len(), sample.max());
}

/// Replaces the results of `cargo xtask bench<what>` in a page.
pub(super) fn write(page: &Path, what: &str, results: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let new = placed(&text, what, results).with_context(|| format!("{} has no place for results", page.display()))?;
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
    fn new_results_take_the_place_of_the_old_ones_and_of_nothing_else() {
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
        for what in ["", " steady", " faults", " burst", " load"] {
            assert!(placed(&page, what, "").is_some(), "bench{what}");
        }
    }

    #[test]
    fn a_row_tells_how_it_compares() {
        let mut text = String::new();
        let twice: Sample = [2.0, 4.0].into_iter().collect();
        row(&mut text, "x", &twice, Some(&[1.0, 2.0].into_iter().collect()));
        assert_eq!(text, "| x | 2 | 2.0 | 4.0 | 4.0 | 2.0, 2.0 |\n");
    }
}
