//! The results in Markdown, and their place in the documentation.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;

use super::{events::Events, footprint::Footprint, reminders::Reminders, sample::Sample};

const BEGIN: &str = "<!-- cargo xtask bench --write: begin -->\n";
const END: &str = "<!-- cargo xtask bench --write: end -->\n";

/// Everything that was measured.
pub(super) struct Report {
    pub(super) command: String,
    pub(super) date: String,
    pub(super) machine: String,
    /// How busy the processor was, in percent: before the run, while the reminders were due, under the events.
    pub(super) busy: [u64; 3],
    pub(super) reminders: Reminders,
    pub(super) events: Events,
    pub(super) starts: Sample,
    pub(super) footprints: Vec<Footprint>,
}

impl Report {
    /// What happened before its time, on either side.
    pub(super) fn early(&self) -> usize {
        let Reminders { fired, sent, bare, mailed_early, .. } = &self.reminders;
        fired.early() + sent.early() + bare.early() + mailed_early
    }

    pub(super) fn markdown(&self) -> String {
        let [before, reminders, events] = self.busy;
        let mut text = format!(
            "`{}`, {}, {}. Processor busy: {before} % before the run, {reminders} % while reminders were due, \
             {events} % under the events. Before their time: {} of {} reminders and bare jobs.\n\n\
             | milliseconds | n | p50 | p99 | max | ÷ bare beside it (p50, p99) |\n|---|--:|--:|--:|--:|--:|\n",
            self.command,
            self.date,
            self.machine,
            self.early(),
            self.reminders.fired.len() + self.reminders.bare.len(),
        );
        let Reminders { fired, sent, attempt, bare, bare_alone, .. } = &self.reminders;
        row(&mut text, "**reminder**: planned → fired", fired, Some(bare));
        row(&mut text, "**reminder**: planned → accepted by the mail server", sent, Some(bare));
        row(&mut text, "of which the attempt: begun → accepted", attempt, None);
        row(&mut text, "bare Dapr job: planned → application, beside", bare, None);
        row(&mut text, "bare Dapr job: planned → application, alone", bare_alone, None);
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

fn row(text: &mut String, what: &str, sample: &Sample, beside: Option<&Sample>) {
    let [p50, p99] = [0.5, 0.99].map(|share| sample.quantile(share));
    let ratio = beside
        .map_or_else(String::new, |bare| format!("{:.1}, {:.1}", p50 / bare.quantile(0.5), p99 / bare.quantile(0.99)));
    let _ = writeln!(text, "| {what} | {} | {p50:.1} | {p99:.1} | {:.1} | {ratio} |", sample.len(), sample.max());
}

/// Replaces the results in a page.
pub(super) fn write(page: &Path, results: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let new = placed(&text, results).with_context(|| format!("{} has no place for results", page.display()))?;
    Ok(fs::write(page, new)?)
}

fn placed(page: &str, results: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{results}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_results_take_the_place_of_the_old_ones_and_of_nothing_else() {
        let page = format!("# Page\n{BEGIN}old\n{END}after\n");
        let new = placed(&page, "new\n").unwrap();
        assert_eq!(new, format!("# Page\n{BEGIN}new\n{END}after\n"));
        assert_eq!(placed(&new, "new\n").unwrap(), new);
        assert_eq!(placed("# Page\n", "new\n"), None);
    }

    #[test]
    fn the_page_of_this_repository_has_a_place_for_results() {
        let page = fs::read_to_string(crate::root().join("docs/performance.md")).unwrap();
        assert!(placed(&page, "").is_some());
    }

    #[test]
    fn a_row_tells_how_it_compares() {
        let mut text = String::new();
        let twice: Sample = [2.0, 4.0].into_iter().collect();
        row(&mut text, "x", &twice, Some(&[1.0, 2.0].into_iter().collect()));
        assert_eq!(text, "| x | 2 | 2.0 | 4.0 | 4.0 | 2.0, 2.0 |\n");
    }
}
