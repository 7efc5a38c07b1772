//! Processor time and memory of each part of the system, with its child processes.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;

use crate::footprint::kilobytes;
use lab::topology::Topology;

/// Processor time of one part.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Work {
    name: String,
    seconds: f64,
}

/// Processor time of each part since it was last started.
pub(super) fn so_far(topology: &Topology) -> anyhow::Result<Vec<Work>> {
    let all = stats()?;
    let parts =
        topology.processes().into_iter().filter_map(|process| Some((process.name().to_owned(), process.pid()?)));
    let used = |pid: u32| {
        // Includes its children, ended or running: PostgreSQL works in them.
        let own = all.iter().filter(|stat| stat.pid == pid).map(|stat| stat.ticks + stat.ticks_of_ended);
        let children = all.iter().filter(|stat| stat.parent == pid).map(|stat| stat.ticks);
        own.chain(children).sum::<u64>()
    };
    // USER_HZ is 100 ticks a second on every Linux.
    Ok(parts.map(|(name, pid)| Work { name, seconds: used(pid) as f64 / 100.0 }).collect())
}

/// Processor time of each part since `before`, the busiest first.
pub(super) fn since(before: &[Work], topology: &Topology) -> anyhow::Result<Vec<Work>> {
    let mut used: Vec<Work> = so_far(topology)?
        .into_iter()
        .map(|now| {
            let then = before.iter().find(|then| then.name == now.name).map_or(0.0, |then| then.seconds);
            Work { seconds: (now.seconds - then).max(0.0), name: now.name }
        })
        .collect();
    used.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    Ok(used)
}

/// Milliseconds of processor time per item, as a table.
pub(super) fn table(work: &[Work], count: usize) -> String {
    let mut text = "| part | ms |\n|---|--:|\n".to_owned();
    let mut row = |name: &str, seconds: f64| {
        let _ = writeln!(text, "| {name} | {:.2} |", seconds * 1000.0 / count as f64);
    };
    let (shown, others) = work.split_at(work.len().min(9));
    for Work { name, seconds } in shown {
        row(&format!("`{name}`"), *seconds);
    }
    row("all others", others.iter().map(|work| work.seconds).sum());
    row("total", work.iter().map(|work| work.seconds).sum());
    text
}

/// Peak memory of each part in megabytes. Leaves out PostgreSQL's children, which share most of their memory.
pub(super) fn peaks(topology: &Topology) -> anyhow::Result<Vec<(String, f64)>> {
    let parts =
        topology.processes().into_iter().filter_map(|process| Some((process.name().to_owned(), process.pid()?)));
    let peak = |(name, pid)| {
        let status = format!("/proc/{pid}/status");
        Ok((name, kilobytes(Path::new(&status), "VmHWM")? as f64 * 1024.0 / 1e6))
    };
    parts.map(peak).collect()
}

struct Stat {
    pid: u32,
    parent: u32,
    ticks: u64,
    ticks_of_ended: u64,
}

fn stats() -> anyhow::Result<Vec<Stat>> {
    let entries = fs::read_dir("/proc").context("no /proc")?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // Skips a process that ends meanwhile.
    Ok(pids.filter_map(|pid| read(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect())
}

/// Parses the fields after the name. The name may contain anything and ends at the last `)`: proc(5).
fn read(pid: u32, stat: &str) -> Option<Stat> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        parent: number(1)?.try_into().ok()?,
        ticks: number(11)? + number(12)?,
        ticks_of_ended: number(13)? + number(14)?,
    })
}

/// The running children of a process.
pub(super) fn children(pid: u32) -> anyhow::Result<Vec<u32>> {
    Ok(stats()?.into_iter().filter(|stat| stat.parent == pid).map(|stat| stat.pid).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = read(7, "7 (a) b) S 3 7 7 0 -1 4194304 1 2 3 4 50 6 70 8 20 0 1 0 100").unwrap();
        assert_eq!((stat.parent, stat.ticks, stat.ticks_of_ended), (3, 56, 78));
        assert!(read(7, "7 (a) S").is_none());
    }

    #[test]
    fn the_table_names_the_busiest_parts_and_counts_all() {
        let work = |name: &str, seconds| Work { name: name.to_owned(), seconds };
        let mut all: Vec<Work> = (0..12).map(|index| work(&format!("part-{index}"), 1.0)).collect();
        all.insert(0, work("busy", 8.0));
        let text = table(&all, 1000);
        assert!(text.contains("| `busy` | 8.00 |") && text.contains("| total | 20.00 |"), "{text}");
        assert!(text.contains("| all others | 4.00 |"), "{text}");
    }
}
